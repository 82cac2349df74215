"""Ask a picture where something is, in plain words: `from runtime import Localizer`.

Nothing heavy is imported until it is used, and PyTorch never is.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.spec import DEFAULT, PAPER, Spec
    from runtime.classify import Label
    from runtime.errors import (
        ArgumentError,
        BundleError,
        DeviceError,
        PictureError,
        PresetError,
        QueryError,
        SceneError,
        VlscoreError,
    )
    from runtime.localization import Localization
    from runtime.localizer import Localizer
    from runtime.picture_limits import PictureLimits
    from runtime.pictures import read_picture
    from runtime.query import Query
    from runtime.scene import Scene

__version__ = "0.1.0"

WHERE = {
    "Label": "runtime.classify",
    "Localizer": "runtime.localizer",
    "Localization": "runtime.localization",
    "Scene": "runtime.scene",
    "Query": "runtime.query",
    "DEFAULT": "engine.spec",
    "PAPER": "engine.spec",
    "Spec": "engine.spec",
    "VlscoreError": "runtime.errors",
    "ArgumentError": "runtime.errors",
    "BundleError": "runtime.errors",
    "DeviceError": "runtime.errors",
    "PresetError": "runtime.errors",
    "PictureError": "runtime.errors",
    "PictureLimits": "runtime.picture_limits",
    "read_picture": "runtime.pictures",
    "QueryError": "runtime.errors",
    "SceneError": "runtime.errors",
}

__all__ = [
    "DEFAULT",
    "PAPER",
    "ArgumentError",
    "BundleError",
    "DeviceError",
    "Label",
    "Localization",
    "Localizer",
    "PictureError",
    "PictureLimits",
    "PresetError",
    "Query",
    "QueryError",
    "Scene",
    "SceneError",
    "Spec",
    "VlscoreError",
    "read_picture",
]


def __getattr__(name: str) -> object:
    if name not in WHERE:
        raise AttributeError(f"module `runtime` has no attribute `{name}`")
    return getattr(importlib.import_module(WHERE[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
