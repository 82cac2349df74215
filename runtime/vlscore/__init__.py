"""`import vlscore`: the names of `runtime` under the name of the distribution, and one error where a folder hides the rooms.

The wheel installs this folder as the package `vlscore`; the rooms keep their own names beside it.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime import DEFAULT as DEFAULT
    from runtime import PAPER as PAPER
    from runtime import ArgumentError as ArgumentError
    from runtime import BundleError as BundleError
    from runtime import DeviceError as DeviceError
    from runtime import Localization as Localization
    from runtime import Localizer as Localizer
    from runtime import PictureError as PictureError
    from runtime import PictureLimits as PictureLimits
    from runtime import PresetError as PresetError
    from runtime import Query as Query
    from runtime import QueryError as QueryError
    from runtime import Scene as Scene
    from runtime import SceneError as SceneError
    from runtime import Spec as Spec
    from runtime import VlscoreError as VlscoreError
    from runtime import read_picture as read_picture


for room in ("engine", "runtime"):
    spec = importlib.util.find_spec(room)
    found = Path((spec and spec.origin) or "nowhere").resolve()
    # The rooms lie beside this folder, or around it in a checkout.
    if found.name != "__init__.py" or found.parent.parent not in Path(__file__).resolve().parents:
        raise ImportError(
            f"`{room}` was found at {found}, which is not vlscore's: a file or folder of that name in the working folder, or in "
            "another package, hides it. Rename it, or start Python elsewhere"
        )

import runtime  # noqa: E402 - only once it is known to be ours

__version__ = runtime.__version__
__all__ = runtime.__all__


def __getattr__(name: str) -> object:
    return getattr(runtime, name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
