"""ONNX Runtime's faults on a card, told as asked, found, cause and repair."""

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
LONGEST = 600  # characters of ONNX Runtime's own words
LIBRARIES = "`pip install --upgrade 'onnxruntime-gpu[cuda,cudnn]'`"


def from_onnxruntime(error: BaseException) -> bool:
    """Whether ONNX Runtime raised it."""
    return type(error).__module__.endswith(STATE) or type(error) in (RuntimeError, ValueError)


def translate(error: BaseException, *, asked: str, graph: str, said: str) -> BaseException:
    """Our error for ONNX Runtime's; what is neither its nor its doing comes back as it is."""
    if isinstance(error, VlscoreError) or not from_onnxruntime(error):
        return error
    words = shorten(str(error))
    if MEMORY.search(str(error)):
        return DeviceMemoryError(
            f"asked for {graph} on `{asked}`; found too little free memory on the card. Cause: {words}. Close what else uses "
            "the card, or build a bundle of a smaller `--batch`"
        )
    if type(error).__name__ in BROKEN:
        return BundleError(f"ONNX Runtime cannot load {graph} for `{asked}`: {words}")
    heard = f" ({shorten(said)})" if said else ""
    return DeviceError(
        f"asked for {graph} on `{asked}`; found that ONNX Runtime cannot run all of it there. Cause: {words}{heard}. Where a "
        f"CUDA or cuDNN library is missing: {LIBRARIES}. Or use `--device cpu`; it never falls back in silence"
    )


def no_cuda(ort: ModuleType, asked: str, provider: str) -> DeviceError:
    """The installed wheel was built without the provider."""
    return DeviceError(
        f"asked for `{asked}`; found ONNX Runtime {ort.__version__} with {', '.join(ort.get_available_providers())}. Cause: this "
        f"wheel holds no {provider}. Repair: `pip uninstall -y onnxruntime`, then `pip install 'vlscore[gpu]'`, or use "
        "`--device cpu`"
    )


def shorten(words: str) -> str:
    """Words in one line, not too many, without the full stop that our sentence brings."""
    flat = " ".join(words.split()).rstrip(".")
    return flat if len(flat) <= LONGEST else flat[: LONGEST - 3] + "..."
