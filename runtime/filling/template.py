"""A template: the graphs of one backbone without weights, and how each of their tensors follows from a checkpoint's."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.manifest import DENSE, PROMPTED
from runtime.errors import BundleError
from runtime.filling.onnx_writer import Pieces

SCHEMA = 1
FOLDER = Path(__file__).parent / "templates"
ENDING = ".template"
METHODS = "methods.templates"  # those of several backbones in one file
COUNT = 8  # bytes that tell how long the text is


@dataclass(frozen=True)
class Slot:
    """One tensor of a graph: made by a recipe, or given, since it follows from no weight."""

    name: str
    kind: int
    dims: tuple[int, ...]
    recipe: str
    given: bytes


@dataclass(frozen=True)
class GraphTemplate:
    """One graph without its tensors."""

    name: str
    weights: str  # the file that its large tensors go to
    shared: str  # the file beside it that may hold them already
    pieces: Pieces
    slots: tuple[Slot, ...]


@dataclass(frozen=True)
class Template:
    """A backbone's graphs in the order in which they are written; `manifest` lacks what weights and files decide."""

    manifest: Mapping[str, Any]
    expects: Mapping[str, tuple[int, ...]]  # the tensors that a checkpoint must hold
    graphs: tuple[GraphTemplate, ...]


def save(template: Template) -> bytes:
    """A template as the file that it is kept in."""
    return compressed(packed(template))


def load(content: bytes) -> Template:
    """Read what `save` gave."""
    return unpacked(lzma.decompress(content))


def save_methods(templates: Mapping[str, Template]) -> bytes:
    """The methods of several backbones as one file, since nearly all of their text is the same: where each lies, then all."""
    content, index = bytearray(), dict[str, tuple[int, int]]()
    for name, template in sorted(templates.items()):
        one = packed(template)
        index[name] = (len(content), len(one))
        content.extend(one)
    text = json.dumps(index).encode()
    return len(text).to_bytes(COUNT, "little") + text + compressed(bytes(content))


def compressed(content: bytes) -> bytes:
    """As small as it gets."""
    return lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)


def packed(template: Template) -> bytes:
    """A template as bytes: text that says what there is, then the bytes of all graphs one after the other."""
    blobs = bytearray()

    def kept(content: bytes) -> list[int]:
        blobs.extend(content)
        return [len(blobs) - len(content), len(content)]

    graphs = [
        {
            "name": graph.name,
            "weights": graph.weights,
            "shared": graph.shared,
            "pieces": [kept(getattr(graph.pieces, part)) for part in Pieces.__dataclass_fields__],
            "slots": [[slot.name, slot.kind, slot.dims, slot.recipe or kept(slot.given)] for slot in graph.slots],
        }
        for graph in template.graphs
    ]
    content = {"schema": SCHEMA, "manifest": template.manifest, "expects": template.expects, "graphs": graphs}
    text = json.dumps(content, separators=(",", ":"), sort_keys=True).encode()
    return len(text).to_bytes(COUNT, "little") + text + bytes(blobs)


def unpacked(content: bytes) -> Template:
    """Read what `packed` gave."""
    end = COUNT + int.from_bytes(content[:COUNT], "little")
    read = json.loads(content[COUNT:end])
    if read["schema"] != SCHEMA:
        raise BundleError(f"this template has schema {read['schema']}, this version reads {SCHEMA}; install `vlscore` again")

    def kept(place: list[int]) -> bytes:
        return content[end + place[0] : end + sum(place)]

    def slot(name: str, kind: int, dims: list[int], held: str | list[int]) -> Slot:
        recipe = held if isinstance(held, str) else ""
        return Slot(name, kind, tuple(dims), recipe, b"" if isinstance(held, str) else kept(held))

    graphs = tuple(
        GraphTemplate(
            graph["name"],
            graph["weights"],
            graph["shared"],
            Pieces(*(kept(place) for place in graph["pieces"])),
            tuple(slot(*each) for each in graph["slots"]),
        )
        for graph in read["graphs"]
    )
    expects = {name: tuple(shape) for name, shape in read["expects"].items()}
    return Template(read["manifest"], expects, graphs)


def with_methods(base: Template, added: Template, names: Iterable[str]) -> Template:
    """A backbone's template with the graphs of some of its methods after its own."""
    wanted = set(names)
    graphs = tuple(graph for graph in added.graphs if method_of(graph.name) in wanted)
    described = base.manifest["graphs"] | {graph.name: added.manifest["graphs"][graph.name] for graph in graphs}
    infos = {name: info for name, info in added.manifest["methods"].items() if name in wanted}
    expects = {**base.expects, **added.expects} if graphs else base.expects
    return Template({**base.manifest, "graphs": described, "methods": infos}, expects, base.graphs + graphs)


def method_of(graph: str) -> str:
    """The method that a graph is of."""
    return graph.removeprefix(DENSE).removeprefix(PROMPTED)


def file_name(name: str, precision: str) -> str:
    """The file of a template."""
    return f"{name}{'' if precision == 'fp32' else f'-{precision}'}{ENDING}"


def with_methods_shipped(folder: Path | None = None) -> dict[str, tuple[int, int]]:
    """The backbones whose methods come with the package, and where each lies in their file."""
    path = (folder or FOLDER) / METHODS
    if not path.is_file():
        return {}
    with path.open("rb") as file:
        index = json.loads(file.read(int.from_bytes(file.read(COUNT), "little")))
    return {name: (start, size) for name, (start, size) in index.items()}


def open_methods(name: str, folder: Path | None = None) -> Template | None:
    """Read the graphs of a backbone's methods, where there are any; they go with those of its own template."""
    place = with_methods_shipped(folder).get(name)
    if place is None:
        return None
    content = ((folder or FOLDER) / METHODS).read_bytes()
    start, size = place
    packs = lzma.decompress(content[COUNT + int.from_bytes(content[:COUNT], "little") :])
    return unpacked(packs[start : start + size])


def shipped(precision: str = "fp32") -> list[str]:
    """The names of the templates that come with the package."""
    ending = file_name("", precision)
    names = sorted(path.name.removesuffix(ending) for path in FOLDER.glob(f"*{ending}"))
    return [name for name in names if precision != "fp32" or not name.endswith("-fp16")]


def open_template(name: str, precision: str = "fp32") -> Template:
    """Read a template that comes with the package."""
    path = FOLDER / file_name(name, precision)
    if not path.is_file():
        raise BundleError(
            f"there is no template of {name} in {precision}, only of {', '.join(shipped(precision)) or 'none'}; build it with "
            f"PyTorch: `python -m export.build --backbone {name} --precision {precision}`"
        )
    return load(path.read_bytes())
