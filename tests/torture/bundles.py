"""Damaged bundles: one that opens and answers, or one error of ours."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from engine.manifest import MANIFEST
from runtime import Localizer, VlscoreError
from runtime.bundles import open_bundle
from runtime.text import QueryWarning
from tests.torture.mutation import NUMBERS, altered, damaged
from tests.torture.opened import SHIPPED_MODEL, emptied, scene_for

REFUSALS = (VlscoreError,)
FOLDER = tempfile.TemporaryDirectory()
WORDS = ("tokenizer.json", "templates.json")
ASKED_HALF = ("text.onnx", "text-short.onnx", "text-many.onnx", "saliency.onnx")
MOST_NUMBERS = 4_000_000  # in the made-up scene of a bundle whose sizes were changed

Harm = Callable[[random.Random, Path], None]


def case(rng: random.Random) -> Callable[[], None]:
    """Harm a copy of the shipped bundle."""
    folder = harmed_copy(rng, Path(FOLDER.name, "bundle"))
    scenes_only = rng.random() < 0.8

    def ask() -> None:
        if not scenes_only:
            open_bundle(folder)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", QueryWarning)
            localizer = Localizer(folder, device="cpu", threads=1, scenes_only=scenes_only)
            maps = localizer.manifest.maps
            if maps.count * (maps.height * maps.width + localizer.manifest.dim) < MOST_NUMBERS:
                for found in localizer.locate(scene_for(localizer.manifest), ["a cat", "a very long story about " * 9]):
                    assert np.isfinite(found.map).all()
                    json.dumps(found.to_dict(), allow_nan=False)

    return ask


def harmed_copy(rng: random.Random, folder: Path) -> Path:
    """A copy in a folder of its own, with something wrong; the large files are the same ones on the disk."""
    emptied(folder)
    for name, content in seeds().items():
        (folder / name).write_bytes(content)
    for path in SHIPPED_MODEL.iterdir():
        if path.name not in seeds():
            os.link(path, folder / path.name) if same_disk() else (folder / path.name).symlink_to(path)
    for _ in range(rng.choice((1, 1, 1, 2))):
        with contextlib.suppress(OSError):  # a second harm may want the file that the first took away
            rng.choice(HARMS)(rng, folder)
    return folder


def manifest_bytes(rng: random.Random, folder: Path) -> None:
    """Damage the manifest as text."""
    data = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(damaged(rng, data, len(data)))


def manifest_field(rng: random.Random, folder: Path) -> None:
    """Change, take out or add a field."""
    rewrite_json(rng, folder / MANIFEST)


def manifest_deep(rng: random.Random, folder: Path) -> None:
    """Put a number or a list of enormous length or depth in the place of a number."""
    data = (folder / MANIFEST).read_bytes()
    at = rng.choice([place for place in range(len(data)) if data[place : place + 2] == b": "])
    size = rng.choice((50, 900, 5_000, 200_000))
    (folder / MANIFEST).write_bytes(
        data[: at + 2] + rng.choice((b"[" * size, b"[" * size + b"]" * size, b"9" * size)) + data[at + 2 :]
    )


def another_file(rng: random.Random, folder: Path) -> None:
    """Put something else in the place of a file."""
    names = sorted(path.name for path in folder.iterdir())
    path, other, kind = folder / rng.choice(names), folder / rng.choice(names), rng.randrange(7)
    content = other.read_bytes() if other.is_file() and kind == 0 else b""
    path.unlink(missing_ok=True) if not path.is_dir() else path.rmdir()
    if kind == 0:
        path.write_bytes(content)
    elif kind == 1:
        path.mkdir()
    elif kind == 2:
        os.mkfifo(path)
    elif kind == 3:
        path.symlink_to(rng.choice(("/dev/zero", "/dev/full", path.name, ".", "/nowhere")))
    elif kind == 4:
        path.write_bytes(b"")


def graph_bytes(rng: random.Random, folder: Path) -> None:
    """Damage a graph behind a right hash."""
    path = folder / rng.choice(ASKED_HALF)
    data = path.read_bytes() if path.is_file() else b""
    rewrite(path, damaged(rng, data, rng.choice((200, 4_000, len(data) or 1))))
    seal(folder)


def graph_structure(rng: random.Random, folder: Path) -> None:
    """Change what a graph is made of, behind a right hash."""
    name = rng.choice(ASKED_HALF)
    model = onnx.ModelProto()
    model.CopyFrom(models()[name])
    for _ in range(rng.choice((1, 1, 2, 5))):
        change_model(rng, model)
    rewrite(folder / name, model.SerializeToString())
    seal(folder)


def change_model(rng: random.Random, model: onnx.ModelProto) -> None:
    """One change to a graph."""
    graph, kind = model.graph, rng.randrange(11)
    node, weights = rng.choice(graph.node), rng.choice(graph.initializer)
    names = sorted({name for each in graph.node for name in (*each.input, *each.output)})
    if kind == 0:
        node.op_type = rng.choice((*(each.op_type for each in graph.node), "Loop", "If", "NonZero", "Tile", ""))
    elif kind == 1 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    elif kind == 2:
        graph.node.remove(node)
    elif kind == 3 and node.attribute:
        each = rng.choice(node.attribute)
        each.i = rng.choice((-1, *NUMBERS))
        each.ints[:] = [rng.choice((-1, *NUMBERS)) for _ in each.ints]
    elif kind == 4 and weights.dims:
        weights.dims[rng.randrange(len(weights.dims))] = rng.choice((-1, *NUMBERS))
    elif kind == 5 and weights.external_data:
        rng.choice(weights.external_data).value = rng.choice(
            ("0", "1", "-1", "99999999999", "x", "../x", "/dev/zero", "text.onnx.weights")
        )
    elif kind == 6:
        weights.data_type = rng.randrange(24)
    elif kind == 7 and weights.raw_data:
        weights.raw_data = damaged(rng, weights.raw_data, len(weights.raw_data))
    elif kind == 8:
        rng.choice((*graph.input, *graph.output)).type.tensor_type.elem_type = rng.randrange(20)
    elif kind == 9:
        graph.node.append(node)
    else:
        model.opset_import[0].version = rng.choice(NUMBERS)


def words_bytes(rng: random.Random, folder: Path) -> None:
    """Damage the tokenizer or the templates as text, behind a right hash."""
    path = folder / rng.choice(WORDS)
    data = path.read_bytes() if path.is_file() else b""
    rewrite(path, damaged(rng, data, rng.choice((600, len(data) or 1))))
    seal(folder)


def words_fields(rng: random.Random, folder: Path) -> None:
    """Change what the tokenizer or the templates say, behind a right hash."""
    rewrite_json(rng, folder / rng.choice(WORDS))
    seal(folder)


# What is found behind right hashes is found last, so it is tried more often.
HARMS: tuple[Harm, ...] = (
    *(manifest_bytes, manifest_field, manifest_field, manifest_deep, another_file),
    *(graph_bytes, graph_bytes, graph_structure, graph_structure, words_bytes, words_fields, words_fields),
)


def rewrite(path: Path, content: bytes) -> None:
    """Write a file anew where there is one, and never into a file that others share."""
    if path.is_file():
        path.unlink()
        path.write_bytes(content)


def rewrite_json(rng: random.Random, path: Path) -> None:
    """Change one place of a JSON file."""
    try:
        content = json.loads(path.read_bytes()) if path.is_file() else None
    except (ValueError, RecursionError):  # harmed before
        return
    for _ in range(rng.choice((1, 1, 3))):
        altered(rng, content)
    rewrite(path, json.dumps(content).encode())


def seal(folder: Path) -> None:
    """Give the manifest the sizes and hashes that its files now have."""
    try:
        manifest: Any = json.loads((folder / MANIFEST).read_bytes()) if (folder / MANIFEST).is_file() else None
        for name, known in manifest["files"].items():
            path = folder / name
            if name in seeds() and path.is_file():
                data = path.read_bytes()
                known.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):  # harmed before
        return
    rewrite(folder / MANIFEST, json.dumps(manifest).encode())


@cache
def seeds() -> dict[str, bytes]:
    """The small files of the shipped bundle."""
    return {path.name: path.read_bytes() for path in sorted(SHIPPED_MODEL.iterdir()) if path.stat().st_size < 1 << 18}


@cache
def models() -> dict[str, onnx.ModelProto]:
    """The graphs of the half that is asked."""
    return {name: onnx.load_model_from_string(seeds()[name]) for name in ASKED_HALF}


@cache
def same_disk() -> bool:
    """Whether a file of the shipped bundle can have a second name where the copies lie."""
    return SHIPPED_MODEL.stat().st_dev == Path(FOLDER.name).stat().st_dev
