"""ONNX Runtime on an NVIDIA card, strictly: the whole graph runs there, or DeviceError says why not.

Left to itself, ONNX Runtime falls back to the CPU in silence when CUDA's libraries are missing, even with
`enable_fallback=0`. Only `session.disable_cpu_ep_fallback` makes it refuse; the provider is checked besides.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import io
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from runtime.backends.onnx_cpu import import_onnxruntime
from runtime.backends.onnx_cuda.driver import InstalledCard, find_card
from runtime.backends.onnx_cuda.errors import no_provider, translate
from runtime.backends.onnx_cuda.options import CudaOptions
from runtime.backends.onnx_cuda.session import CudaSession, OpenGraph
from runtime.errors import DeviceError

# One convolution of one number. A session on it loads the driver, the CUDA libraries and cuDNN, and nothing of a model.
PROBE = base64.b64decode(
    "CAkSADpjCg8KAXgKAXcSAXkiBENvbnYSAXAqEwgBCAEIAQgBEAFCAXdKBAAAgD9aGwoBeBIWChQIARIQCgIIAQoCCAEKAggBCgIIAWIbCgF5EhYKFAgBEhAK"
    "AggBCgIIAQoCCAEKAggBQgQKABAU"
)


class OnnxCudaBackend:
    """Graphs on one NVIDIA card, through ONNX Runtime."""

    device = "cuda"
    precisions: tuple[str, ...] = ("fp32", "tf32")

    def __init__(self, options: CudaOptions | None = None) -> None:
        self.options = options or CudaOptions()
        self.asked = f"cuda:{self.options.index}" if self.options.index else "cuda"
        self.ort = import_onnxruntime()
        if self.options.wanted() not in self.ort.get_available_providers():
            raise no_provider(self.ort, self.asked, self.options.wanted())
        self.card = find_card(self.options.index, self.asked)
        self.preload_output = preload(self.ort)
        self.open_session(PROBE)
        self.detail = describe(self.ort, self.card, self.options)

    def open(self, graph: Path, precision: str = "fp32") -> CudaSession:
        """Load a graph onto the card."""
        if precision not in self.precisions:
            raise DeviceError(
                f"asked for {precision}; ONNX Runtime offers {', '.join(self.precisions)} on `cuda`. Build an fp16 bundle: "
                "`python -m export.build --backbone NAME --precision fp16`"
            )
        session = self.open_session(graph, tf32=precision == "tf32")
        return CudaSession(OpenGraph(self.ort, session, self.options.index, graph.stem, self.translator(graph.name)))

    def open_session(self, graph: Path | bytes, *, tf32: bool = False) -> Any:  # noqa: ANN401 - ONNX Runtime's classes are only there when it is
        """A session of ONNX Runtime that runs on the card alone."""
        settings = self.ort.SessionOptions()
        settings.log_severity_level = 4
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        path, source = (graph, str(graph)) if isinstance(graph, Path) else (None, graph)
        name = "a graph of one convolution" if path is None else path.name
        try:
            providers = replace(self.options, tf32=tf32 or self.options.tf32).providers(path)
            session = self.ort.InferenceSession(source, settings, providers=providers, enable_fallback=0)
        except Exception as error:  # the pybind exceptions derive from Exception only
            raise self.translator(name)(error) from error
        found = session.get_providers()
        if found[:1] != [self.options.wanted()]:
            raise DeviceError(
                f"asked for `{self.asked}` ({self.options.wanted()}); found {', '.join(found)} chosen for {name}. Cause: "
                f"{self.preload_output or 'ONNX Runtime does not say'}. Repair: "
                "`pip install 'vlscore[gpu]'`, or use `--device cpu`"
            )
        return session

    def translator(self, graph: str) -> functools.partial[BaseException]:
        """What turns ONNX Runtime's exceptions about a graph into ours."""
        return functools.partial(translate, asked=self.asked, graph=graph, preload_output=self.preload_output)


@functools.cache
def preload(ort: ModuleType) -> str:
    """Load CUDA and cuDNN from their wheels, once; what ONNX Runtime prints about it is kept for error messages."""
    if not hasattr(ort, "preload_dlls"):
        return ""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            ort.preload_dlls()
        except Exception as error:  # whatever fails here, opening a session says what is missing
            printed.write(f"{type(error).__name__}: {error}")
    return " ".join(printed.getvalue().split())


def describe(ort: ModuleType, card: InstalledCard, options: CudaOptions) -> str:
    """The backend in a line."""
    provider = "TensorRT" if options.provider == "tensorrt" else "CUDA"
    switches = [name for name, on in (("channels last", options.nhwc), ("tf32", options.tf32)) if on]
    return f"ONNX Runtime {ort.__version__}, {', '.join([provider, *switches])}, {card.name}, {card.memory / 1e9:.0f} GB"
