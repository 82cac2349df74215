"""Truth as JSON: masks become run lengths, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.world.splits import Example, Thing


def to_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Run lengths of a mask (h, w), row by row, beginning with the clear run (which may be 0 long)."""
    flat = np.concatenate([[False], mask.ravel(), [not mask.flat[-1]]])
    ends = np.flatnonzero(flat[1:] != flat[:-1])
    return [int(run) for run in np.diff(ends, prepend=0)]


def from_runs(runs: Sequence[int], hw: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (h, w) of run lengths that to_runs made."""
    if sum(runs) != hw[0] * hw[1]:
        raise ValueError(f"`runs` cover {sum(runs)} pixels, a mask of {hw[0]} x {hw[1]} has {hw[0] * hw[1]}")
    values = np.zeros(len(runs), bool)
    values[1::2] = True
    return np.repeat(values, runs).reshape(hw)


def to_json(one: Example, file: str, sha256: str) -> dict[str, Any]:
    """The truth of a scene whose picture is stored in a file of this content."""
    things = [{"noun": thing.noun, "box": list(thing.box), "runs": to_runs(thing.mask)} for thing in one.things]
    return {
        "file": file,
        "sha256": sha256,
        "split": one.split,
        "index": one.index,
        "hw": list(one.pixels.shape[:2]),
        "caption": one.caption,
        "absent": list(one.absent),
        "things": things,
    }


def from_json(entry: dict[str, Any], pixels: NDArray[np.uint8]) -> Example:
    """A scene from its truth and its picture (h, w, 3)."""
    height, width = entry["hw"]
    if pixels.shape != (height, width, 3):
        raise ValueError(f"`{entry['file']}` is {pixels.shape}, its truth says {(height, width, 3)}")
    things = tuple(
        Thing(thing["noun"], tuple(thing["box"]), from_runs(thing["runs"], (height, width))) for thing in entry["things"]
    )
    return Example(entry["split"], entry["index"], pixels, things, entry["caption"], tuple(entry["absent"]))
