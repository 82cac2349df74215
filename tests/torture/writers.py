"""Every writer of the product, each with two contents that can be told apart when they are read again."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from runtime import Scene, read_picture
from runtime.bundles import SHIPPED, read_manifest
from runtime.cli.lists import write_text
from runtime.drawing import write_picture
from runtime.measurements import Timing, file_of, keep, load
from tests.runtime.samples import Pixels, noise
from tests.torture.opened import scene_for


@dataclass(frozen=True)
class Writer:
    """How a file is written with content 0 or 1, and how one tells which of them it holds; reading raises for any other."""

    write: Callable[[Path, int], object]
    read: Callable[[Path], int]


def write_scene(path: Path, number: int) -> None:
    """A scene of one or two passes."""
    replace(scene(), passes=number + 1, embeddings=scene().embeddings[:: 1 - 2 * number]).save(path)


def read_scene(path: Path) -> int:
    """Which scene it is."""
    found = Scene.load(path)
    number = found.passes - 1
    assert np.array_equal(found.embeddings, scene().embeddings[:: 1 - 2 * number])
    return number


def read_drawing(path: Path) -> int:
    """Which drawing it is."""
    pixels = read_picture(path)
    return next(number for number in (0, 1) if np.array_equal(pixels, drawing(number)))


def read_json(path: Path) -> int:
    """Which answers they are."""
    number = json.loads(path.read_bytes())["number"]
    assert json.loads(path.read_bytes()) == answers(number)
    return int(number)


def write_measurements(path: Path, number: int) -> None:
    """Measurements, in the folder of bundles that the path lies in."""
    os.environ["VLSCORE_HOME"] = str(path.parents[1])
    assert keep(read_manifest(SHIPPED / "demo-rn"), timings(number)) == path


def read_measurements(path: Path) -> int:
    """Which measurements they are."""
    found = load(path).timings
    return next(number for number in (0, 1) if found == timings(number))


WRITERS: dict[str, Writer] = {
    "scene": Writer(write_scene, read_scene),
    "drawing": Writer(lambda path, number: write_picture(path, drawing(number)), read_drawing),
    "json": Writer(lambda path, number: write_text(str(path), json.dumps(answers(number))), read_json),
    "measurements": Writer(write_measurements, read_measurements),
}


def target(kind: str, folder: Path) -> Path:
    """Where a writer writes to below a folder; measurements choose their own name."""
    if kind != "measurements":
        return folder / {"scene": "a.scene.npz", "drawing": "a.png", "json": "a.json"}[kind]
    os.environ["VLSCORE_HOME"] = str(folder)
    path = file_of(read_manifest(SHIPPED / "demo-rn"))
    path.parent.mkdir(exist_ok=True)
    return path


def write_for_ever(kind: str, path: Path) -> None:
    """One content after the other, until the process is killed."""
    for number in itertools.cycle((1, 0)):
        WRITERS[kind].write(path, number)


@cache
def scene() -> Scene:
    """A scene of a megabyte or so."""
    return scene_for(read_manifest(SHIPPED / "demo-rn"))


@cache
def drawing(number: int) -> Pixels:
    """A picture that hardly packs."""
    return noise(300, 400 + number)


@cache
def answers(number: int) -> dict[str, object]:
    """Some hundred kilobytes of answers."""
    return {"number": number, "pictures": [{"picture": f"{each}.png", "answers": [number] * 9} for each in range(3_000)]}


@cache
def timings(number: int) -> tuple[Timing, ...]:
    """Many timings."""
    return tuple(Timing("cpu", "fp32", 1 + each, 10.0 + number) for each in range(1_000))
