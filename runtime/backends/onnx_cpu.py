"""ONNX Runtime on the CPU. The only module that imports `onnxruntime`, and only when a backend is made."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
from pathlib import Path
from types import ModuleType

from runtime.backends.session import Arrays, HostSession, Outputs, failed_run
from runtime.errors import BundleError, DeviceError
from runtime.threads import check_startable

PROVIDER = "CPUExecutionProvider"
WHEELS = ("onnxruntime", "onnxruntime-gpu")


class OnnxSession(HostSession):
    """One ONNX graph in ONNX Runtime."""

    def __init__(self, ort: ModuleType, graph: Path, threads: int) -> None:
        self.library, self.graph = f"ONNX Runtime {ort.__version__}", graph
        check_startable(threads - 1)  # the caller's is one of them
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised; they must not be printed as well
        # Several graphs share the cores: workers that spin after one graph would steal time from the next.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = ort.InferenceSession(str(graph), options, providers=[PROVIDER], enable_fallback=0)
        except Exception as error:  # the pybind exceptions derive from Exception only
            raise BundleError(f"{self.library} cannot load `{graph}`: {error}") from error
        if self.session.get_providers() != [PROVIDER]:
            raise DeviceError(f"asked for `cpu`, but ONNX Runtime chose {self.session.get_providers()}")
        self.outputs = [output.name for output in self.session.get_outputs()]

    def run(self, inputs: Arrays) -> Outputs:
        """Run the graph once."""
        try:
            found = self.session.run(self.outputs, dict(inputs))
        except Exception as error:  # of any kind: what a graph says may be impossible for these very numbers
            raise failed_run(self.library, self.graph, error) from error
        return dict(zip(self.outputs, found, strict=True))


class OnnxCpuBackend:
    """Graphs on this machine's cores."""

    device = "cpu"
    precisions: tuple[str, ...] = ("fp32",)

    def __init__(self, threads: int) -> None:
        self.ort = import_onnxruntime()
        self.threads = threads
        self.detail = f"ONNX Runtime {self.ort.__version__}, {threads} thread{'s' if threads > 1 else ''}"

    def open(self, graph: Path, precision: str = "fp32") -> OnnxSession:
        """Load a graph for the CPU."""
        if precision not in self.precisions:
            raise DeviceError(f"asked for {precision}; ONNX Runtime offers {', '.join(self.precisions)} on the CPU")
        return OnnxSession(self.ort, graph, self.threads)


def installed_wheels() -> list[str]:
    """Which of ONNX Runtime's rival wheels are installed; they share one module, so more than one is a fault."""
    found = []
    for wheel in WHEELS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version(wheel)
            found.append(wheel)
    return found


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime, or say which extra brings it."""
    wheels = installed_wheels()
    if len(wheels) > 1:
        raise DeviceError(
            "both `onnxruntime` and `onnxruntime-gpu` are installed; they overwrite each other's files. Keep one: "
            "`pip uninstall -y onnxruntime onnxruntime-gpu`, then `pip install 'vlscore[cpu]'` or `pip install 'vlscore[gpu]'`"
        )
    try:
        ort = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise DeviceError(
            "ONNX Runtime is not installed: `pip install 'vlscore[cpu]'` for the CPU, or `pip install 'vlscore[gpu]'` for "
            f"NVIDIA cards ({error})"
        ) from error
    return ort
