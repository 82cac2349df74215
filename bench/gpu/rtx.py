"""TensorRT-RTX, which the wheel of ONNX Runtime's plug-in brings: it builds engines without a card, too."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import tempfile
from pathlib import Path
from types import ModuleType

WHEEL, MODULE = "onnxruntime_ep_nv_tensorrt_rtx", "tensorrt_rtx_bindings"
LIBRARIES = ("libtensorrt_rtx", "libtensorrt_onnxparser_rtx")


def there() -> bool:
    """Whether both wheels are installed."""
    return all(importlib.util.find_spec(name) for name in (WHEEL, MODULE))


def import_rtx() -> ModuleType:
    """Its module, with the same names as `tensorrt`; its libraries are found by the names that the plug-in's wheel gives them."""
    found = importlib.util.find_spec(WHEEL)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"`{WHEEL}` is not installed")
    place, links = Path(found.submodule_search_locations[0]), Path(tempfile.mkdtemp(prefix="vlscore-rtx-"))
    for name in LIBRARIES:
        link = links / f"{name}.so.1"
        link.symlink_to(next(place.glob(f"{name}.so.*")))
        ctypes.CDLL(str(link), mode=ctypes.RTLD_GLOBAL)
    return importlib.import_module(MODULE)
