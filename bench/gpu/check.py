"""What an interpreter and a machine lack to measure a card, one sentence each. Any interpreter runs it: standard library alone.

`python bench/gpu/check.py [build] [cpu]`: 1 where something is missing that nothing can be measured (or built) without; `cpu`
asks for no card, and `driver` for nothing else.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
from collections.abc import Iterator

CUDA = 13000  # ONNX Runtime's wheel is built for CUDA 13, whose least driver is 580
RUNTIME = {
    "numpy": "numpy",
    "cv2": "opencv-python-headless",
    "PIL": "pillow",
    "tokenizers": "tokenizers",
    "ftfy": "ftfy",
    "platformdirs": "platformdirs",
}
BUILDING = {"torch": "torch", "open_clip": "open_clip_torch", "onnx": "onnx", "onnxscript": "onnxscript", "typer": "typer"}
OPTIONAL = {"tensorrt": "tensorrt", "cuda.bindings.runtime": "cuda-bindings"}


def driver_fault(library: str = "libcuda.so.1") -> str:
    """Why the driver will not do, asked of its own library; nothing where it will."""
    version = ctypes.c_int()
    try:
        driver = ctypes.CDLL(library)
    except OSError:
        return f"There is no NVIDIA driver (`{library}` cannot be loaded): install one of version 580 or later."
    if driver.cuDriverGetVersion(ctypes.byref(version)) or version.value < CUDA:
        found = f"{version.value // 1000}.{version.value % 1000 // 10}"
        return f"The NVIDIA driver knows CUDA {found}, and ONNX Runtime's wheel needs 13.0: install driver 580 or later."
    return ""


def there(module: str) -> bool:
    """Whether a module can be imported; nothing is loaded but its parents."""
    try:
        return importlib.util.find_spec(module) is not None
    except ImportError:
        return False


def runtime_fault() -> str:
    """Why ONNX Runtime will not run on a card; nothing where it may."""
    if not there("onnxruntime"):
        return "`onnxruntime-gpu` is missing: install it."
    ort = importlib.import_module("onnxruntime")
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        return f"ONNX Runtime {ort.__version__} is the processor's: uninstall `onnxruntime`, install `onnxruntime-gpu`."
    return ""


def required(*, build: bool, card: bool) -> Iterator[str]:
    """What nothing goes without."""
    if card and (fault := driver_fault()):
        yield fault
    for module, package in {**RUNTIME, **(BUILDING if build else {})}.items():
        if not there(module):
            yield f"`{package}` is missing: install it."
    if card and (fault := runtime_fault()):
        yield fault


def main(arguments: list[str]) -> int:
    """Print a sentence for everything that is missing."""
    if "driver" in arguments:
        missing, left_out = [fault for fault in [driver_fault()] if fault], []
    else:
        missing = list(required(build="build" in arguments, card="cpu" not in arguments))
        left_out = [f"`{package}` is missing: TensorRT is left out." for module, package in OPTIONAL.items() if not there(module)]
    print("\n".join([*missing, *left_out]) or "Nothing is missing.", flush=True)
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
