"""ONNX Runtime's exceptions on a card, as errors that name what was asked, what was found, the cause and the repair."""

from __future__ import annotations

import re
from types import ModuleType

from runtime.errors import BundleError, DeviceError, DeviceMemoryError, VlscoreError

STATE = "onnxruntime_pybind11_state"  # the module of all its exceptions, which derive from Exception alone
BROKEN = ("NoSuchFile", "InvalidProtobuf", "InvalidGraph", "NoModel")
MEMORY = re.compile(
    r"out of memory|failed to allocate|CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED|cudaErrorMemoryAllocation"
    r"|BFCArena|available memory of .* is smaller than requested",
    re.IGNORECASE,
)
LONGEST = 600  # characters of ONNX Runtime's own message
LIBRARIES = "`pip install --upgrade 'vlscore[gpu]'`"


def from_onnxruntime(error: BaseException) -> bool:
    """Whether ONNX Runtime raised an exception."""
    return type(error).__module__.endswith(STATE) or type(error) in (RuntimeError, ValueError)


def translate(error: BaseException, *, asked: str, graph: str, preload_output: str) -> BaseException:
    """Our error for ONNX Runtime's; any other exception is given back unchanged."""
    if isinstance(error, VlscoreError) or not from_onnxruntime(error):
        return error
    message = shorten(str(error))
    if MEMORY.search(str(error)):
        return DeviceMemoryError(
            f"asked for {graph} on `{asked}`; found too little free memory on the card. Cause: {message}. Close what else uses "
            "the card, or build a bundle of a smaller `--batch`"
        )
    if type(error).__name__ in BROKEN:
        return BundleError(f"ONNX Runtime cannot load {graph} for `{asked}`: {message}")
    printed = f" ({shorten(preload_output)})" if preload_output else ""
    return DeviceError(
        f"asked for {graph} on `{asked}`; found that ONNX Runtime cannot run all of it there. Cause: {message}{printed}. Where a "
        f"CUDA or cuDNN library is missing: {LIBRARIES}. Or use `--device cpu`; it never falls back in silence"
    )


def no_provider(ort: ModuleType, asked: str, provider: str) -> DeviceError:
    """The installed wheel was built without the provider."""
    return DeviceError(
        f"asked for `{asked}`; found ONNX Runtime {ort.__version__} with {', '.join(ort.get_available_providers())}. Cause: this "
        f"wheel holds no {provider}. Repair: `pip uninstall -y onnxruntime`, then `pip install 'vlscore[gpu]'`, or use "
        "`--device cpu`"
    )


def shorten(text: str) -> str:
    """A text in one line, cut where it is too long, without the full stop that our sentence brings."""
    flat = " ".join(text.split()).rstrip(".")
    return flat if len(flat) <= LONGEST else flat[: LONGEST - 3] + "..."
