"""Some of a picture's masked passes: what a check, a turn or a question needs when the whole picture takes minutes.

The only place in the benchmarks that reaches behind `Localizer`'s front door.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from runtime import Localizer, Scene
from runtime.pictures import Picture, read_picture


def partial_scene(localizer: Localizer, picture: Picture, which: Sequence[int] | None = None, count: int = 0) -> Scene:
    """A scene in which only some maps were run (those named, else the first `count` live ones); the rest are the base."""
    encoder = localizer.encoder
    job = encoder.begin(read_picture(picture))
    chosen = list(which) if which is not None else list(job.waiting)[:count]
    job.waiting, job.missing = deque(chosen), len(chosen)
    while job.missing:
        encoder.run(encoder.gather([job]))
    return encoder.finish(job)
