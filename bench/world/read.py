"""Read the written test set; needs neither fonts nor sprites."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.world.splits import Example
from bench.world.truth import from_json

PICTURES = Path(__file__).parent / "pictures"
TRUTH = "truth.json.gz"
SCHEMA = 2


def read_truth(folder: Path) -> dict[str, Any]:
    """The truth file of a written test set."""
    file = folder / TRUTH
    if not file.is_file():
        raise FileNotFoundError(f"`{folder}` holds no {TRUTH}: write one with python -m bench.world.write")
    truth: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
    if truth.get("schema") != SCHEMA:
        raise ValueError(f"`{file}` has schema {truth.get('schema')}, this reads {SCHEMA}: write it again")
    return truth


def scenes_of(folder: Path, splits: Iterable[str]) -> list[dict[str, Any]]:
    """The truth of the scenes of some splits, in order, whose pictures must all be there."""
    scenes = read_truth(folder)["scenes"]
    found = []
    for split in splits:
        entries = [entry for entry in scenes if entry["split"] == split]
        if not entries:
            raise ValueError(f"split `{split}` is not in {folder}: choose one that {TRUTH} lists")
        missing = sum(not (folder / entry["file"]).is_file() for entry in entries)
        if missing:
            raise FileNotFoundError(
                f"{missing} of {len(entries)} pictures of split `{split}` are not in {folder}: draw them with "
                "python -m bench.world.write --missing --sprites sprites.npz (bench/world/README.md says what it needs)"
            )
        found += entries
    return found


def read_split(folder: Path, split: str) -> Iterator[Example]:
    """The scenes of one split, in order."""
    for entry in scenes_of(folder, [split]):
        with Image.open(folder / entry["file"]) as picture:
            yield from_json(entry, np.asarray(picture.convert("RGB")))
