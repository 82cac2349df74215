"""ONNX graphs written without `onnx`: a template's bytes with the tensors of one checkpoint between them.

A template holds a graph as it was traced, cut where its tensors go. Protocol buffers are fields one after the other, so the
pieces and the tensors are joined by nothing but lengths. What is written here is byte for byte what `export/` writes.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

EXTERNAL_FROM = 1024  # bytes; smaller tensors stay inside the graph
ALIGNMENT = 64
FLOAT, INT64, HALF = 1, 7, 10  # ONNX's numbers for element types
DTYPES: dict[int, np.dtype[Any]] = {FLOAT: np.dtype("<f4"), INT64: np.dtype("<i8"), HALF: np.dtype("<f2")}

# Field numbers of ONNX's messages.
MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_TENSOR = 1, 5
TENSOR_DIMS, TENSOR_TYPE, TENSOR_NAME, TENSOR_RAW, TENSOR_EXTERNAL, TENSOR_LOCATION = 1, 2, 8, 9, 13, 14


@dataclass(frozen=True)
class Place:
    """Where a tensor's bytes lie beside a graph."""

    file: str
    offset: int
    length: int


@dataclass
class WeightsFile:
    """A file of raw tensors being written; equal tensors are written once, and what `shared` holds stays there."""

    path: Path
    shared: WeightsFile | None = None
    places: dict[int, list[Place]] = field(default_factory=dict)  # by a checksum of their bytes
    size: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    file: BinaryIO | None = None

    def place(self, raw: NDArray[np.uint8]) -> Place:
        """Put bytes into the file unless they are there, and say where they are."""
        key = zlib.crc32(raw.data)
        found = self.find(key, raw) or (self.shared.find(key, raw) if self.shared else None)
        if found is None:
            self.write(np.zeros(-self.size % ALIGNMENT, dtype=np.uint8))
            found = Place(self.path.name, self.size, len(raw))
            self.write(raw)
            self.places.setdefault(key, []).append(found)
        return found

    def find(self, key: int, raw: NDArray[np.uint8]) -> Place | None:
        """Look for bytes among those of the same checksum."""
        for place in self.places.get(key, ()):
            if place.length == len(raw) and self.read(place) == raw.tobytes():
                return place
        return None

    def write(self, raw: NDArray[np.uint8]) -> None:
        """Append bytes."""
        if self.file is None:
            self.file = self.path.open("w+b")
        self.file.write(raw.data)
        self.digest.update(raw.data)
        self.size += len(raw)

    def read(self, place: Place) -> bytes:
        """Read back what was written."""
        assert self.file is not None  # a place was given out: the file is open
        self.file.seek(place.offset)
        content = self.file.read(place.length)
        self.file.seek(0, 2)
        return content

    def flush(self) -> None:
        """Let others read what was written so far."""
        if self.file is not None:
            self.file.flush()

    def close(self) -> None:
        """Finish the file."""
        if self.file is not None:
            self.file.close()


def varint(number: int) -> bytes:
    """A whole number in protocol buffers' way: seven bits a byte, the lowest first."""
    number &= (1 << 64) - 1
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


def number(place: int, value: int) -> bytes:
    """A field that is a number."""
    return varint(place << 3) + varint(value)


def block(place: int, content: bytes) -> bytes:
    """A field that is text, bytes or a message."""
    return varint(place << 3 | 2) + varint(len(content)) + content


def entry(key: str, value: object) -> bytes:
    """One line of a tensor's external reference."""
    return block(TENSOR_EXTERNAL, block(1, key.encode()) + block(2, str(value).encode()))


def tensor(name: str, kind: int, dims: tuple[int, ...], held: bytes | Place) -> bytes:
    """A tensor of a graph: its bytes, or where they are."""
    start = b"".join(number(TENSOR_DIMS, dim) for dim in dims) + number(TENSOR_TYPE, kind) + block(TENSOR_NAME, name.encode())
    if isinstance(held, bytes):
        return block(GRAPH_TENSOR, start + block(TENSOR_RAW, held))
    reference = entry("location", held.file) + entry("offset", held.offset) + entry("length", held.length)
    return block(GRAPH_TENSOR, start + reference + number(TENSOR_LOCATION, 1))


def cast_to_float(name: str) -> bytes:
    """The node that makes float32 again of a tensor stored in half precision, `NAME.half`."""
    to = block(1, b"to") + number(3, FLOAT) + varint(20 << 3) + varint(2)
    return block(GRAPH_NODE, block(1, f"{name}.half".encode()) + block(2, name.encode()) + block(4, b"Cast") + block(5, to))


@dataclass(frozen=True)
class Pieces:
    """A traced graph cut where its tensors go: what comes before the graph, its nodes, its name, its rest, what comes after."""

    before: bytes
    nodes: bytes
    name: bytes
    rest: bytes
    after: bytes


@dataclass(frozen=True)
class Stored:
    """How a tensor's numbers were stored: inside the graph or beside it, whole or in half precision."""

    kind: int
    halved: bool
    held: bytes | Place


def store(numbers: NDArray[np.generic], kind: int, weights: WeightsFile) -> Stored:
    """Store a tensor's numbers; float32 as float16 wherever not one bit is lost by it, as published half precision allows."""
    large = numbers.nbytes >= EXTERNAL_FROM
    halved = large and kind == FLOAT and exact_in_half(numbers.reshape(-1)[:256]) and exact_in_half(numbers)
    kept = numbers.astype(np.float16) if halved else np.ascontiguousarray(numbers)
    raw = kept.reshape(-1).view(np.uint8)
    held = weights.place(raw) if len(raw) >= EXTERNAL_FROM else raw.tobytes()
    return Stored(HALF if halved else kind, halved, held)


def exact_in_half(full: NDArray[np.generic]) -> bool:
    """Whether float16 holds these numbers exactly."""
    with np.errstate(over="ignore"):
        return bool(np.array_equal(full.astype(np.float16).astype(np.float32), full))


def write_graph(path: Path, pieces: Pieces, tensors: Iterable[tuple[str, tuple[int, ...], Stored]]) -> None:
    """Write a graph with its tensors, given by name and shape."""
    casts, fields = [], []
    for name, dims, stored in tensors:
        if stored.halved:
            casts.append(cast_to_float(name))
        fields.append(tensor(f"{name}.half" if stored.halved else name, stored.kind, dims, stored.held))
    graph = b"".join([*casts, pieces.nodes, pieces.name, *fields, pieces.rest])
    path.write_bytes(pieces.before + block(MODEL_GRAPH, graph) + pieces.after)
