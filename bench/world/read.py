"""Read the written test set; needs neither fonts nor sprites."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.world.splits import Example
from bench.world.truth import from_json

SCHEMA = 1


def read_truth(folder: Path) -> dict[str, Any]:
    """The truth file of a written test set."""
    file = folder / "truth.json"
    if not file.is_file():
        raise FileNotFoundError(f"`{folder}` holds no truth.json: write one with python -m bench.world.write")
    truth: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    if truth.get("schema") != SCHEMA:
        raise ValueError(f"`{file}` has schema {truth.get('schema')}, this reads {SCHEMA}: write it again")
    return truth


def read_split(folder: Path, split: str) -> Iterator[Example]:
    """The scenes of one split, in order."""
    found = [entry for entry in read_truth(folder)["scenes"] if entry["split"] == split]
    if not found:
        raise ValueError(f"split `{split}` is not in {folder}: choose one that truth.json lists")
    for entry in found:
        with Image.open(folder / entry["file"]) as picture:
            yield from_json(entry, np.asarray(picture.convert("RGB")))
