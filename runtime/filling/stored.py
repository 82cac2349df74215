"""What a bundle's graphs hold already, by the recipes of its template: further graphs then need no checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from runtime.filling.fill import Known
from runtime.filling.onnx_writer import DTYPES, FLOAT, Place, Stored
from runtime.filling.recipes import THEN, Floats
from runtime.filling.template import Template
from runtime.graph_files import fields_of, message, text

SHARED = "image.onnx.weights"


def known_in(folder: Path, template: Template) -> Known | None:
    """Where a bundle keeps the tensors of its pictures' graphs; None when it was not made as this template makes it."""
    known: Known = {}
    for graph in (each for each in template.graphs if each.weights == SHARED and (folder / f"{each.name}.onnx").is_file()):
        data = (folder / f"{graph.name}.onnx").read_bytes()
        there = dict(tensors_in(data))
        if graph.name == "image" and graph.pieces.nodes not in data:
            return None
        for slot in graph.slots:
            found = there.get(slot.name) or there.get(f"{slot.name}.half")
            if slot.recipe and found is not None:
                known[(slot.recipe, slot.kind)] = found
    return known or None


def tensors_in(data: bytes) -> Iterator[tuple[str, Stored]]:
    """The tensors of a graph file."""
    for graph in (message(value) for number, value in fields_of(memoryview(data)) if number == 7):
        for tensor in (message(value) for number, value in fields_of(graph) if number == 5):
            yield tensor_of(tensor)


def tensor_of(tensor: memoryview) -> tuple[str, Stored]:
    """One tensor's name, its type, and its bytes or where they lie."""
    name, kind, held, where = "", 0, b"", dict[str, str]()
    for number, value in fields_of(tensor):
        if number == 2 and isinstance(value, int):
            kind = value
        elif number == 8:
            name = text(value)
        elif number == 9:
            held = bytes(message(value))
        elif number == 13:
            pair = {inner: text(each) for inner, each in fields_of(message(value))}
            where[pair[1]] = pair[2]
    place = Place(where["location"], int(where["offset"]), int(where["length"])) if where else held
    return name, Stored(kind, name.endswith(".half"), place)


class BundleTensors(Mapping[str, Floats]):
    """The tensors of a checkpoint as far as a bundle made of them still has them: as they were, or turned over."""

    def __init__(self, folder: Path, known: Known, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.folder, self.known, self.shapes = folder, known, shapes

    def __getitem__(self, name: str) -> Floats:
        shape = self.shapes[name]
        found = self.known.get((name, FLOAT))
        if found is not None:
            return self.numbers(found).reshape(shape)
        turned = self.known.get((f"{name}{THEN}swap", FLOAT))
        if turned is None:
            raise KeyError(name)
        return self.numbers(turned).reshape(shape[::-1]).T

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def numbers(self, stored: Stored) -> Floats:
        """Read a tensor's numbers."""
        kind = DTYPES[stored.kind]
        if isinstance(stored.held, bytes):
            return np.frombuffer(stored.held, kind).astype(np.float32)
        count = stored.held.length // kind.itemsize
        return np.fromfile(self.folder / stored.held.file, kind, count, offset=stored.held.offset).astype(np.float32)
