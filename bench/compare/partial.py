"""Some of a picture's masked passes: what a check, a turn or a question needs when the whole picture takes minutes.

The only place in the benchmarks that reaches behind `Localizer`'s front door.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime import Localizer, Scene
from runtime.pictures import Picture, read_picture


def partial_scene(localizer: Localizer, picture: Picture, which: Sequence[int] | None = None, count: int = 0) -> Scene:
    """A scene in which only some maps were run (those named, else the first `count` live ones); the rest are the base."""
    pixels = read_picture(picture)
    if which is None:
        scene, _ = localizer.encoder.look(pixels)
        which = np.flatnonzero(scene.live)[:count].tolist()
    return localizer.encoder.encode_maps(pixels, which)
