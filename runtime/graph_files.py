"""What a graph file holds, read without the `onnx` package: operators, inputs, outputs, and where its weights lie.

A bundle may come from a stranger. Before a graph is handed to an inference library it must hold nothing but the operators
that bundles are made of (no loops, no functions, no code of others), take and give what the manifest says, and point into
files that the manifest lists. The file is a protobuf message, of which only a few fields matter here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from engine.manifest import Manifest, Tensor
from engine.operators import OPERATORS
from engine.records import shown

MOST_BYTES = 64 << 20  # of a graph without its weights; the largest of ours has a tenth of a megabyte
TYPES = {1: "float32", 2: "uint8", 3: "int8", 6: "int32", 7: "int64", 9: "bool", 10: "float16", 11: "float64"}
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
EXTERNAL = 1  # a tensor's `data_location`

Field = tuple[int, "int | memoryview"]


class GraphFileError(ValueError):
    """A file is no graph that a bundle may hold."""


@dataclass
class GraphFile:
    """What a graph file says: operators by name, signature, and the ranges of other files that hold its weights."""

    operators: set[str] = field(default_factory=set)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    external: list[tuple[str, int, int]] = field(default_factory=list)  # file, first byte, bytes
    functions: int = 0


def read_graph(data: bytes) -> GraphFile:
    """Read a graph file; raises GraphFileError when it is not one."""
    found = GraphFile()
    graphs = 0
    try:
        for number, value in fields_of(memoryview(data)):
            if number == 7:
                graphs += 1
                read_body(message(value), found)
            elif number == 25:
                found.functions += 1
    except (IndexError, UnicodeDecodeError) as error:
        raise GraphFileError("it is not an ONNX graph, or is cut short") from error
    if graphs != 1:
        raise GraphFileError(f"it holds {graphs} graphs instead of one: it is not an ONNX file, or is damaged")
    return found


def faults_of(found: GraphFile, name: str, manifest: Manifest) -> Iterator[str]:
    """What speaks against a graph of a bundle, one sentence each."""
    described = manifest.graphs[name]
    foreign = sorted(found.operators - OPERATORS)
    if foreign or found.functions:
        yield f"it holds operators that no bundle is made of ({', '.join(foreign)[:200] or 'functions'})"
    for kind, inside, told in (("inputs", found.inputs, described.inputs), ("outputs", found.outputs, described.outputs)):
        if inside != told:
            yield f"its {kind} are {shown(inside, 300)}, but the manifest says {shown(told, 300)}"
    for location, start, size in found.external:
        if location not in manifest.files:
            yield f"its weights lie in `{location}`, a file that the manifest does not list"
        elif start < 0 or size < 0 or start + size > manifest.files[location].bytes:
            yield f"its weights lie beyond the end of `{location}`"


def read_body(body: memoryview, found: GraphFile) -> None:
    """Read a graph's nodes, weights, inputs and outputs."""
    for number, value in fields_of(body):
        if number == 1:
            found.operators.add(operator(message(value)))
        elif number == 5:
            read_weights(message(value), found)
        elif number in (11, 12):
            name, tensor = value_info(message(value))
            (found.inputs if number == 11 else found.outputs)[name] = tensor
        elif number == 15:
            raise GraphFileError("it holds sparse weights, which no bundle has")


def operator(node: memoryview) -> str:
    """A node's operator, with its domain where that is not ONNX's own; graphs inside of nodes are refused."""
    kind = domain = ""
    for number, value in fields_of(node):
        if number == 4:
            kind = text(value)
        elif number == 7:
            domain = text(value)
        elif number == 5 and any(inner in (6, 11) for inner, _ in fields_of(message(value))):
            raise GraphFileError("it holds a graph inside of a node, as loops and conditions do; no bundle has one")
    return f"{domain}.{kind}" if domain else kind


def read_weights(tensor: memoryview, found: GraphFile) -> None:
    """Note where a tensor's bytes lie when that is another file."""
    where: dict[str, str] = {}
    external = False
    for number, value in fields_of(tensor):
        if number == 13:
            pair = {inner: text(each) for inner, each in fields_of(message(value))}
            where[pair.get(1, "")] = pair.get(2, "")
        elif number == 14:
            external = value == EXTERNAL
    if external or where:
        numbers = [where.get(key, "0") for key in ("offset", "length")]
        if not all(digits.isdecimal() and len(digits) < 20 for digits in numbers):
            raise GraphFileError("its weights lie at a place that is no number")
        found.external.append((where.get("location", ""), int(numbers[0]), int(numbers[1])))


def value_info(info: memoryview) -> tuple[str, Tensor]:
    """Name, type and shape of an input or output."""
    name, kind, shape = "", 0, list[int]()
    for number, value in fields_of(info):
        if number == 1:
            name = text(value)
        elif number == 2:
            for _, tensor in (each for each in fields_of(message(value)) if each[0] == 1):
                for inner, part in fields_of(message(tensor)):
                    if inner == 1 and isinstance(part, int):
                        kind = part
                    elif inner == 2:
                        shape = [dimension(message(dim)) for number, dim in fields_of(message(part)) if number == 1]
    return name, (TYPES.get(kind, f"type {kind}"), tuple(shape))


def dimension(dim: memoryview) -> int:
    """A fixed size; bundles hold no others."""
    for number, value in fields_of(dim):
        if number == 1 and isinstance(value, int):
            return value
    raise GraphFileError("it has an input or output whose shape is not fixed")


def fields_of(data: memoryview) -> Iterator[Field]:
    """The fields of a message: their numbers, and a whole number or the bytes of each."""
    place, end = 0, len(data)
    while place < end:
        key, place = varint(data, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = varint(data, place)
            yield number, value
        elif kind == BYTES:
            size, place = varint(data, place)
            if size > end - place:
                raise IndexError("a field is longer than its message")
            yield number, data[place : place + size]
            place += size
        elif kind in (FIXED32, FIXED64):
            place += 4 if kind == FIXED32 else 8
        else:
            raise IndexError(f"field of unknown kind {kind}")


def varint(data: memoryview, place: int) -> tuple[int, int]:
    """A number of seven bits a byte, and the place after it."""
    number = shift = 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7
        if shift > 63:
            raise IndexError("a number is longer than 64 bits")


def message(value: int | memoryview) -> memoryview:
    """A field that must be a message."""
    if isinstance(value, int):
        raise IndexError("a message was expected")
    return value


def text(value: int | memoryview) -> str:
    """A field that must be a text."""
    return bytes(message(value)).decode("utf-8")
