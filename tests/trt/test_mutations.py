"""Each way of using TensorRT wrongly that the drive is there to catch, made on purpose: every one must be caught."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.trt.drive import drive

NAMES = ("trt_build", "trt_engines", "trt_session", "tensorrt")
MUTATIONS: dict[str, tuple[str, str, str]] = {
    "weak typing": ("trt_build", 'return 1 << int(members["STRONGLY_TYPED"]) if "STRONGLY_TYPED" in members else 0', "return 0"),
    "the flag's number of one major in both": (
        "trt_build",
        'return 1 << int(members["STRONGLY_TYPED"]) if "STRONGLY_TYPED" in members else 0',
        "return 1 << 1",
    ),
    "TF32 left on": ("trt_build", "(config.set_flag if options.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)", "pass"),
    "half precision asked of the builder": (
        "trt_build",
        "config.builder_optimization_level = options.level",
        "config.set_flag(trt.BuilderFlag.FP16)",
    ),
    "a foreign timing cache taken": (
        "trt_build",
        "config.set_timing_cache(cache, False)",
        "config.set_timing_cache(cache, True)",
    ),
    "an old way to build": (
        "trt_build",
        "builder.build_serialized_network(network, config)",
        "builder.build_engine(network, config)",
    ),
    "no logger of its own": ("trt_build", "builder = trt.Builder(log)", "builder = trt.Builder(None)"),
    "no address": ("trt_session", "if not self.context.set_tensor_address(name, pointer):", "if False:"),
    "shapes never inferred": ("trt_session", "missing = self.context.infer_shapes()", "missing = []"),
    "no scratch memory": ("trt_session", "self.context.set_device_memory(pointer, size)", "pass"),
    "too little scratch memory": (
        "trt_session",
        "size = max(int(self.context.update_device_memory_size_for_shapes()), ALIGNED)",
        "size = ALIGNED",
    ),
    "memory left to TensorRT": (
        "trt_session",
        "ExecutionContextAllocationStrategy.USER_MANAGED",
        "ExecutionContextAllocationStrategy.STATIC",
    ),
    "the default stream": ("trt_session", "self.context.execute_async_v3(self.stream)", "self.context.execute_async_v3(0)"),
    "no warm-up before the recording": (
        "trt_session",
        "        self.enqueue()\n        self.device.synchronize(self.stream)\n        if not graph:",
        "        if not graph:",
    ),
    "recording while work is under way": (
        "trt_session",
        "        self.enqueue()\n        self.device.synchronize(self.stream)\n",
        "        self.enqueue()\n",
    ),
    "the recorded context run directly": (
        "trt_session",
        "            if self.recorded is None:\n                self.enqueue()",
        "            if True:\n                self.enqueue()",
    ),
    "outputs read before the run is over": ("trt_session", "self.device.wait(run.event)", "pass"),
    "one staging set for runs that overlap": ("trt_session", "            self.free.popleft()\n", ""),
    "uploads from memory that is not pinned": (
        "trt_session",
        "self.device.upload(slot.pointer, staging[name], self.stream)",
        "self.device.upload(slot.pointer, staging[name].copy(), self.stream)",
    ),
    "held inputs sent anyway": (
        "trt_session",
        "{**self.held, **inputs}, graph=self.graph)",
        "dict(self.held), graph=self.graph)",
    ),
    "nothing given back": ("trt_session", "self.closing = weakref.finalize(self, self.owned.release)", "pass"),
    "graphs kept": ("trt_session", "            self.device.close_graph(graph)", "            pass"),
    "engines never kept": ("tensorrt", "self.engines.keep(graph.stem, key, built.plan, time.perf_counter() - started)", "pass"),
}


def source(name: str) -> str:
    """The source of a module of the backend."""
    spec = importlib.util.find_spec(f"runtime.backends.{name}")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


def load(name: str, changed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the backend from changed source, in the place of the real one."""
    full = f"runtime.backends.{name}"
    spec = importlib.util.find_spec(full)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, full, module)
    exec(compile(changed.get(name) or source(name), full, "exec"), module.__dict__)
    return module


def mutated(name: str, old: str, new: str) -> dict[str, str]:
    """The source of one module with one change; the place must be there exactly once."""
    before = source(name)
    assert before.count(old) == 1, f"`{old}` stands {before.count(old)} times in {name}"
    return {name: before.replace(old, new)}


def backend(changed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The whole backend, loaded anew."""
    return [load(name, changed, monkeypatch) for name in NAMES][-1]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("major", [10, 11])
def test_without_a_change_the_drive_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, major: int) -> None:
    drive(backend({}, monkeypatch), tmp_path, major)


@pytest.mark.parametrize("name", MUTATIONS)
def test_the_drive_catches(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = backend(mutated(*MUTATIONS[name]), monkeypatch)
    caught = []
    for major in (10, 11):
        home = tmp_path / str(major)
        home.mkdir()
        monkeypatch.setenv("VLSCORE_HOME", str(home / "home"))
        try:
            drive(module, home, major)
        except Exception as error:  # whatever it is that goes wrong, it is seen
            caught.append((major, type(error).__name__))
    assert caught, "nobody noticed"
