"""What each graph of a bundle takes and gives, from the sizes that its manifest states."""

from __future__ import annotations

from collections.abc import Iterator

from engine.manifest import DENSE, IMAGE_HALF, PROMPTED, TEXT_HALF, GraphInfo, Manifest, Tensor
from engine.methods import METHODS
from engine.records import shown

Tensors = dict[str, Tensor]


def signature_faults(manifest: Manifest) -> Iterator[str]:
    """What does not fit between a manifest's sizes and its graphs, one sentence each."""
    required = ("image", "masked", "text", "saliency")
    for name in (name for name in required if name not in manifest.graphs):
        yield f"the graph `{name}` is missing"
    for name in (name for name in method_graphs(manifest) if name not in manifest.graphs):
        yield f"the graph `{name:.80}` is missing"
    for name, graph in manifest.graphs.items():
        if name not in (*IMAGE_HALF, *TEXT_HALF) and name not in method_graphs(manifest):
            yield f"the graph `{name:.80}` is none that a bundle has"
            continue
        if name.startswith(PROMPTED):
            inputs, outputs = asks(name.removeprefix(PROMPTED), graph, manifest)
        elif name.startswith(DENSE):
            inputs, outputs = looks(name.removeprefix(DENSE), manifest)
        else:
            inputs, outputs = expected(name, graph, manifest)
        if (graph.inputs, graph.outputs) != (inputs, outputs):
            found = f"takes {shown(graph.inputs, 300)} and gives {shown(graph.outputs, 300)}"
            yield f"the graph `{name:.80}` must take {inputs} and give {outputs}, but {found}"


def method_graphs(manifest: Manifest) -> list[str]:
    """The graphs of the methods that a manifest lists, those of no known method left out."""
    known = [METHODS[name] for name in manifest.methods if name in METHODS]
    looks = [f"{DENSE}{row.name}" for row in known if row.family != "masked"]  # which looks by the masked graph
    return looks + [f"{PROMPTED}{row.name}" for row in known if row.family in ("masked", "prompted")]


def looks(name: str, manifest: Manifest) -> tuple[Tensors, Tensors]:
    """Inputs and outputs of a method's graph of pictures."""
    info, head = manifest.methods[name], METHODS[name].head
    cells = info.height * info.width
    square: Tensors = {"pixels": ("uint8", (1, info.side, info.side, 3))}
    if head is not None and head.kind == "affinity":
        return square, {"affinity": ("float32", (cells, cells))}
    if METHODS[name].family == "prompted":
        return square, {"stream": stream_of(name, manifest), "embedding": ("float32", (manifest.dim,)), **tied(name, manifest)}
    found: Tensors = {"features": ("float32", (info.sets, info.height, info.width, manifest.dim))}
    found["embedding"] = ("float32", (manifest.dim,))
    if head is not None and head.kind == "layers":
        found["attention"] = ("float32", (cells, cells))
    return square, found


def stream_of(name: str, manifest: Manifest) -> Tensor:
    """What a graph of words starts from: a transformer's tokens, or the cells of a ResNet's last maps."""
    info = manifest.methods[name]
    return "float32", (info.height * info.width + (manifest.tower == "vit"), info.channels)


def tied(name: str, manifest: Manifest) -> Tensors:
    """What CLIP-ES needs besides: the embedding of the patches, and which of them belong together."""
    cells = manifest.methods[name].height * manifest.methods[name].width
    return {"patches": ("float32", (manifest.dim,)), "affinity": ("float32", (cells, cells))} if name == "clip-es" else {}


def asks(name: str, graph: GraphInfo, manifest: Manifest) -> tuple[Tensors, Tensors]:
    """Inputs and outputs of a method's graph of words."""
    info, count = manifest.methods[name], max(1, rows(graph, "texts", 0))
    given: Tensors = {"stream": stream_of(name, manifest), "texts": ("float32", (count, manifest.dim))}
    if METHODS[name].family == "masked":
        return given, {"slopes": ("float32", (count, info.channels))}
    return given, {"maps": ("float32", (count, info.height, info.width))}


def expected(name: str, graph: GraphInfo, manifest: Manifest) -> tuple[Tensors, Tensors]:
    """Inputs and outputs of a graph; how many rows it takes at once is its own choice, within what the manifest says."""
    maps, dim, side = manifest.maps, manifest.dim, manifest.image.side
    grid = (maps.height, maps.width)
    picture: Tensors = {"pixels": ("uint8", (1, side, side, 3))}
    if name == "image":
        return picture, {"maps": ("float32", (maps.raw, *grid)), "embedding": ("float32", (dim,))}
    if name == "instant":
        looked: Tensors = {"maps": ("float32", (maps.raw, *grid)), "embedding": ("float32", (dim,))}
        told, count = ("embeddings", maps.count) if maps.source == "bottleneck" else ("patches", maps.height * maps.width)
        return picture, {**looked, told: ("float32", (count, dim)), "base": ("float32", (dim,))}
    if name.startswith("masked"):
        batch = rows(graph, "which", 0) if name == "masked-small" else manifest.batch
        pixels = ("uint8", (manifest.slots, side, side, 3))
        passes: Tensors = {"pixels": pixels, "which": ("int64", (batch,)), "maps": ("float32", (batch, *grid))}
        return passes, {"embeddings": ("float32", (batch, dim))}
    if name.startswith("text"):
        count, context = rows(graph, "tokens", 0), rows(graph, "tokens", 1)
        fits = count > 0 and 0 < context <= manifest.text.context
        tokens: Tensor = ("int64", (count, context) if fits else (1, manifest.text.context))
        return {"tokens": tokens}, {"embeddings": ("float32", (count if fits else 1, dim))}
    queries = max(1, rows(graph, "texts", 0))
    scalars: Tensors = {name: ("float32", ()) for name in ("temperature", "combine", "contrast")}
    encoded: Tensors = {"embeddings": ("float32", (maps.count, dim)), "base": ("float32", (dim,))}
    asked: Tensors = {"maps": ("float32", (maps.count, *grid)), "texts": ("float32", (queries, dim))}
    found: Tensors = {"scores": ("float32", (queries, maps.count)), "saliency": ("float32", (queries, *grid))}
    return {**encoded, **asked, **scalars}, found


def rows(graph: GraphInfo, name: str, axis: int) -> int:
    """One size of an input, or 0 where the graph has no such input."""
    shape = graph.inputs.get(name, ("", ()))[1]
    return shape[axis] if axis < len(shape) else 0
