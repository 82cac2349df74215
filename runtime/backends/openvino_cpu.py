"""OpenVINO on the CPU. The only module that imports `openvino`, and only when a backend is made.

OpenVINO chooses bfloat16 by itself on processors that have it. Here the precision is always set, and read back.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.session import Arrays, HostSession, Outputs, failed_run
from runtime.bundles import bundle_home
from runtime.errors import BundleError, DeviceError

DEVICE = "CPU"
# OpenVINO tells what the processor has; its kernels also keep to this variable, and then cannot run bf16.
ISA_LIMIT = "ONEDNN_MAX_CPU_ISA"
WITHOUT_BF16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX512_CORE", "AVX512_CORE_VNNI")
HINTS = {"fp32": "f32", "bf16": "bf16"}
CACHE = ".openvino"  # in the folder of bundles: compiled graphs, which open about four times faster
Request = Callable[[dict[str, NDArray[Any]]], Outputs]


class OpenVinoSession(HostSession):
    """One graph in OpenVINO. Threads that come at once get a request each; finished ones are used again."""

    def __init__(self, graph: Path, make: Callable[[], Request]) -> None:
        self.graph, self.make = graph, make
        self.idle: list[Request] = [make()]
        self.lock = threading.Lock()

    def run(self, inputs: Arrays) -> Outputs:
        """Run the graph once; the inputs are read where they lie, the outputs are fresh arrays."""
        with self.lock:
            request = self.idle.pop() if self.idle else None
        request = request or self.make()
        # OpenVINO only shares memory that is in one piece and may be written to (it does not write).
        shared = {name: np.require(value, requirements=("C", "W")) for name, value in inputs.items()}
        try:
            outputs = request(shared)
        except RuntimeError as error:  # the request is not used again
            raise failed_run("OpenVINO", self.graph, error) from error
        with self.lock:
            self.idle.append(request)
        return outputs


class OpenVinoBackend:
    """Graphs on this machine's cores, compiled by OpenVINO."""

    device = "openvino"

    def __init__(self, threads: int) -> None:
        self.ov = import_openvino()
        self.core = self.ov.Core()
        if DEVICE not in self.core.available_devices:
            raise DeviceError(
                f"asked for `openvino`; found the devices {self.core.available_devices or 'none'}. Cause: OpenVINO's CPU plugin "
                "cannot be loaded. Install it anew: `pip install --force-reinstall openvino`"
            )
        self.threads = threads
        self.capabilities: tuple[str, ...] = tuple(self.core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES"))
        if os.environ.get(ISA_LIMIT, "").strip().upper() in WITHOUT_BF16:
            self.capabilities = tuple(kind for kind in self.capabilities if kind != "BF16")
        self.precisions: tuple[str, ...] = ("fp32", "bf16") if "BF16" in self.capabilities else ("fp32",)
        kinds = [kind for kind in ("BF16", "INT8") if kind in self.capabilities]
        self.detail = (
            f"OpenVINO {self.ov.get_version().partition('-')[0]}, {threads} thread{'s' if threads > 1 else ''}, "
            f"this processor has {', '.join(['FP32', *kinds])}"
        )

    def open(self, graph: Path, precision: str = "fp32") -> OpenVinoSession:
        """Compile a graph for the CPU, or load it compiled."""
        if precision not in self.precisions:
            raise DeviceError(f"asked for {precision}; OpenVINO offers {', '.join(self.precisions)} on this processor")
        try:
            model = self.core.read_model(graph)
            parts = [model] if precision == "fp32" else self.split(model)
            hints = ["fp32"] * (len(parts) - 1) + [precision]
            compiled = [self.compile(part, hint) for part, hint in zip(parts, hints, strict=True)]
        except DeviceError:
            raise
        except RuntimeError as error:
            raise BundleError(f"{self.detail.partition(',')[0]} cannot load `{graph}`: {error}") from error
        return OpenVinoSession(graph, lambda: request(compiled))

    def split(self, model: Any) -> list[Any]:  # noqa: ANN401 - OpenVINO's classes are only there when it is
        """Cut a graph before its first convolution: pixels, masks and their min-max stay float32 whatever comes after."""
        ops = self.ov.opset13
        first = next(node for node in model.get_ordered_ops() if node.get_type_name() == "Convolution")
        source = first.input_value(0)
        head = self.ov.Model([ops.result(source)], model.get_parameters(), "head")
        # The head keeps the nodes above the cut; the convolution is given a new source, and the body keeps those below.
        pictures = ops.parameter(source.get_shape(), source.get_element_type(), name="pictures")
        first.input(0).replace_source_output(pictures.output(0))
        return [head, self.ov.Model(model.get_results(), [pictures], "body")]

    def compile(self, model: Any, precision: str) -> Any:  # noqa: ANN401
        """Compile for the CPU in exactly this precision."""
        compiled = self.core.compile_model(model, DEVICE, self.properties(precision))
        kind = self.ov.Type.f32 if precision == "fp32" else self.ov.Type.bf16
        found = compiled.get_property("INFERENCE_PRECISION_HINT"), list(compiled.get_property("EXECUTION_DEVICES"))
        if found != (kind, [DEVICE]):
            raise DeviceError(f"asked for {precision} on `openvino`, but OpenVINO chose {found[0]} on {', '.join(found[1])}")
        return compiled

    def properties(self, precision: str) -> dict[str, object]:
        """What is asked of OpenVINO; threads are not pinned, since processes side by side would share the first cores."""
        chosen: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": self.threads,
            "INFERENCE_PRECISION_HINT": HINTS[precision],
            "ENABLE_CPU_PINNING": False,
        }
        folder = bundle_home() / CACHE
        if writable(folder):
            chosen["CACHE_DIR"] = str(folder)
        return chosen


def request(compiled: list[Any]) -> Request:
    """One chain of infer requests; where there are two, the second reads what the first wrote, where it lies."""
    *heads, last = [part.create_infer_request() for part in compiled]
    for head in heads:
        last.set_input_tensor(head.get_output_tensor(0))
    names = [output.any_name for output in compiled[-1].outputs]

    def run(inputs: dict[str, NDArray[Any]]) -> Outputs:
        for head in heads:
            head.infer(inputs, share_inputs=True, share_outputs=True)
        last.infer(None if heads else inputs, share_inputs=True, share_outputs=True)
        return {name: np.array(last.get_output_tensor(index).data) for index, name in enumerate(names)}

    return run


def writable(folder: Path) -> bool:
    """Whether compiled graphs can be kept there; a read-only place only costs the time to compile again."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def import_openvino() -> ModuleType:
    """Import OpenVINO, or say which extra brings it."""
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise DeviceError(f"OpenVINO is not installed: `pip install 'vlscore[openvino]'` ({error})") from error
