"""Native TensorRT, 10 or 11. The only module that imports `tensorrt`, and only when the backend is made."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from engine.records import RecordError, from_json
from runtime.backends.graph_hash import graph_hash
from runtime.backends.tensorrt.build import EngineError, EngineOptions, TensorRT, build_plan, shared_log
from runtime.backends.tensorrt.cache import FOLDER, EngineCache, EngineKey, Policy
from runtime.backends.tensorrt.driver import CudaDriver, Driver
from runtime.backends.tensorrt.session import TensorRTSession
from runtime.bundles import bundle_home
from runtime.errors import DeviceError
from runtime.logs import tell

MAJORS = (10, 11)
POLICIES: tuple[Policy, ...] = get_args(Policy)
CAPTURED = ("masked", "saliency", "text")  # graphs whose launches are captured: the small, much repeated ones
Report = Callable[[str], None]


class TensorRTBackend:
    """Graphs on an NVIDIA card, each built into an engine when it is first opened."""

    device = "tensorrt"
    # Other precisions are part of the bundle's graphs; tf32 is float32 with products of 10 bits.
    precisions: tuple[str, ...] = ("fp32", "tf32")

    def __init__(
        self,
        index: int = 0,
        *,
        policy: Policy = "rebuild",
        options: EngineOptions | None = None,
        trt: TensorRT | None = None,
        driver: Driver | None = None,
        report: Report = tell,
    ) -> None:
        """Open a card; `policy` says what happens where no fitting engine is stored: `rebuild` it, or `refuse` to open."""
        self.trt = import_tensorrt() if trt is None else trt
        check_version(self.trt)
        self.driver = CudaDriver(index) if driver is None else driver
        self.target = self.driver.target()
        self.policy, self.options, self.report = policy, options or EngineOptions(), report
        self.cache = EngineCache(bundle_home() / FOLDER)
        self.log = shared_log(self.trt)
        self.driver.select()
        self.runtime = self.trt.Runtime(self.log)
        self.detail = (
            f"TensorRT {self.trt.__version__}, {self.target.name} (compute {self.target.capability}), CUDA {self.target.cuda}"
        )

    @classmethod
    def from_options(cls, given: Mapping[str, Any], index: int) -> TensorRTBackend:
        """Open a card with a user's `device_options`: `policy`, and the fields of EngineOptions."""
        rest = dict(given)
        policy = rest.pop("policy", "rebuild")
        if policy not in POLICIES:
            raise DeviceError(f"asked for the policy `{policy}`; found {' and '.join(POLICIES)}. Choose one of them")
        try:
            options = from_json(EngineOptions, rest, "device_options")
        except RecordError as error:
            raise DeviceError(f"asked for `tensorrt` with options that it does not have: {error}; besides: `policy`") from error
        return cls(index, policy=policy, options=options)

    def open(self, graph: Path, precision: str = "fp32") -> TensorRTSession:
        """Load the engine of a graph, or build it; raise DeviceError when that is not allowed or fails."""
        if precision not in self.precisions:
            raise DeviceError(
                f"asked for {precision} on `tensorrt`; found {', '.join(self.precisions)}. Cause: a card computes in what the "
                "bundle was built in. Build it with `--precision fp16`, or leave `precision` out"
            )
        options = replace(self.options, tf32=True) if precision == "tf32" else self.options
        engine = self.load(graph, options)
        return TensorRTSession(self.trt, self.driver, engine, capture=graph.stem.startswith(CAPTURED))

    def load(self, graph: Path, options: EngineOptions) -> Any:  # noqa: ANN401 - TensorRT's classes are only there when it is
        """The engine of a graph, from the cache or newly built."""
        self.driver.select()
        key = EngineKey(graph_hash(graph), str(self.trt.__version__), self.target, options)
        with self.cache.locked(graph.stem, key):
            plan, reason = self.cache.load(graph.stem, key)
            if plan is not None:
                engine = self.runtime.deserialize_cuda_engine(plan)
                if engine is not None:
                    return engine
                reason = f"TensorRT refused the stored one: {self.log.take_errors()}"
            engine = self.runtime.deserialize_cuda_engine(self.build(graph, key, reason))
        if engine is None:
            raise EngineError(f"TensorRT refuses the engine of `{graph}` that it just built: {self.log.take_errors()}")
        return engine

    def build(self, graph: Path, key: EngineKey, reason: str) -> bytes:
        """Build and store the engine of a graph, where the policy allows it."""
        if self.policy == "refuse":
            raise DeviceError(
                f"asked for the engine of `{graph}` on {self.detail}; found no fitting one. Cause: {reason}, and engines are not "
                "built on first use here. Build it: `python -m export.build --backbone NAME --tensorrt`"
            )
        self.report(f"building a TensorRT engine of {graph.stem} ({reason}); this takes a minute or more, once")
        timing = self.cache.timing_cache(key)
        started = time.perf_counter()
        built = build_plan(self.trt, graph, key.options, timing.read_bytes() if timing.is_file() else b"")
        self.cache.store(graph.stem, key, built.plan, time.perf_counter() - started)
        if built.timing_cache:
            self.cache.store_timings(key, built.timing_cache)
        return built.plan


def check_version(trt: TensorRT) -> None:
    """Refuse a TensorRT that this was not written for. Whoever gives TensorRT-RTX, which counts from 1, knows what it is."""
    if getattr(trt, "__name__", "").startswith("tensorrt_rtx"):
        return
    major = int(str(trt.__version__).partition(".")[0])
    if major not in MAJORS:
        raise DeviceError(
            f"asked for `tensorrt`; found TensorRT {trt.__version__}. Cause: vlscore knows {MAJORS[0]} and {MAJORS[1]}. "
            "Repair: `pip install 'vlscore[tensorrt]'`"
        )


def import_tensorrt() -> TensorRT:
    """Import TensorRT, or say what is missing."""
    try:
        return importlib.import_module("tensorrt")
    except ImportError as error:
        raise DeviceError(
            f"asked for `tensorrt`; found no TensorRT that can be loaded. Cause: {error}. Repair: `pip install "
            "'vlscore[tensorrt]'` on a machine with an NVIDIA card, or use `--device cpu`; it never falls back in silence"
        ) from error
