"""The emoji scenes of `bench/world`: the one data set that is here, with boxes, masks and nouns that are absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.evaluate.data import DataSet, Sample, Thing, open_pixels
from bench.world.nouns import nouns, number
from bench.world.read import PICTURES, scenes_of
from bench.world.truth import from_runs


def world(root: Path | None = None, split: str = "test") -> DataSet:
    """The scenes of a split; things of one noun are one truth with several boxes."""
    folder = root or PICTURES
    entries = scenes_of(folder, [split])

    def read(place: int) -> Sample:
        entry = entries[place]
        hw: tuple[int, int] = (entry["hw"][0], entry["hw"][1])
        things = []
        for noun in dict.fromkeys(thing["noun"] for thing in entry["things"]):
            same = [thing for thing in entry["things"] if thing["noun"] == noun]
            mask = np.logical_or.reduce([from_runs(thing["runs"], hw) for thing in same])
            things.append(Thing(number(noun), np.array([thing["box"] for thing in same], np.float64), mask))
        absent = tuple(number(noun) for noun in entry["absent"])
        return Sample(entry["file"], hw, tuple(things), lambda: open_pixels(folder / entry["file"]), absent)

    keys = tuple(entry["file"] for entry in entries)
    return DataSet("world", tuple((noun,) for noun in nouns()), keys, read, {"root": str(folder), "split": split})
