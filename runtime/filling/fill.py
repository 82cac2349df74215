"""Filling a template: the tensors of a checkpoint into the graphs of a bundle and their files of weights."""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engine.cells import nearby, touching
from engine.manifest import ImageInfo
from engine.methods import METHODS
from engine.resample import upsampler
from runtime.filling.onnx_writer import DTYPES, Stored, WeightsFile, store, write_graph
from runtime.filling.recipes import Floats, Tensors, follow
from runtime.filling.template import GraphTemplate, Slot, Template

BLANK = "blank"  # the graph of the blank picture: run once, for what the instant graph keeps of it, and removed
BELLS = sorted({row.head.nearby for row in METHODS.values() if row.head and row.head.nearby})
Run = Callable[[Path, Mapping[str, Floats]], Mapping[str, Floats]]
Known = dict[tuple[str, int], Stored]  # by recipe and element type


class GraphWriter:
    """Writes graphs into a folder one after the other. A tensor that several hold is made once, in the file that they share."""

    def __init__(self, folder: Path, tensors: Tensors, there: Known | None = None) -> None:
        """Take the tensors that recipes start from, and what lies in the folder already."""
        self.folder, self.tensors, self.done = folder, tensors, there or {}
        self.files: dict[str, WeightsFile] = {}
        self.hashes: dict[str, str] = {}  # of every file that was written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self.files.values():
            file.close()
            if file.size:
                self.hashes[file.path.name] = file.digest.hexdigest()

    def write(self, graph: GraphTemplate) -> Path:
        """Write a graph, and into the files of weights what is not there yet."""
        if graph.weights not in self.files:
            self.files[graph.weights] = WeightsFile(self.folder / graph.weights, self.files.get(graph.shared))
        weights, path = self.files[graph.weights], self.folder / f"{graph.name}.onnx"
        write_graph(path, graph.pieces, ((slot.name, slot.dims, self.stored(slot, graph, weights)) for slot in graph.slots))
        weights.flush()
        self.hashes[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        return path

    def stored(self, slot: Slot, graph: GraphTemplate, weights: WeightsFile) -> Stored:
        """Store one tensor, unless a file that this graph may point into has it."""
        kind = DTYPES[slot.kind]
        if not slot.recipe:
            return store(np.frombuffer(slot.given, kind), slot.kind, weights)
        found = self.done.get((slot.recipe, slot.kind))
        if found is not None and (isinstance(found.held, bytes) or found.held.file in (graph.weights, graph.shared)):
            return found
        made = store(follow(slot.recipe, self.tensors).astype(kind, copy=False), slot.kind, weights)
        self.done[(slot.recipe, slot.kind)] = made
        return made


def write_graphs(template: Template, tensors: Tensors, image: ImageInfo, folder: Path, run: Run) -> dict[str, str]:
    """Write a bundle's graphs and weights; gives the hash of every file."""
    maps = template.manifest["maps"]
    made = pixel_tensors(template.manifest, image) | cell_tensors((maps["height"], maps["width"]))
    with GraphWriter(folder, ChainMap(made, tensors)) as writer:  # type: ignore[arg-type] # read-only maps are never written to
        for graph in template.graphs:
            path = writer.write(graph)
            if graph.name == BLANK:
                made.update(look_at_nothing(path, image.side, run))
                del writer.hashes[path.name]
    return writer.hashes


def pixel_tensors(manifest: Mapping[str, Any], image: ImageInfo) -> dict[str, Floats]:
    """What graphs hold that follows from no weight: how pixels are scaled, and how maps are enlarged."""
    maps, align = manifest["maps"], manifest["masks"]["align"]
    spread = np.asarray(image.std, dtype=np.float64)
    return {
        "made.pixel_scale": (1 / (255 * spread)).astype(np.float32),
        "made.pixel_shift": (-np.asarray(image.mean, dtype=np.float64) / spread).astype(np.float32),
        "made.mask_rows": upsampler(align, image.side, maps["height"]).astype(np.float32),
        "made.mask_cols": upsampler(align, image.side, maps["width"]).astype(np.float32),
    }


def cell_tensors(grid_hw: tuple[int, int]) -> dict[str, Floats]:
    """The same for methods: which cells of the grid are one, touch, or lie near each other."""
    made = {"made.same": np.eye(grid_hw[0] * grid_hw[1]), "made.touching": touching(grid_hw)}
    made |= {f"made.nearby_{width:g}": nearby(grid_hw, width) for width in BELLS}
    return {name: values.astype(np.float32) for name, values in made.items()}


def look_at_nothing(graph: Path, side: int, run: Run) -> dict[str, Floats]:
    """Run the graph of the blank picture, which is zero once its pixels are scaled, and remove it."""
    nothing: NDArray[np.float32] = np.zeros((1, 3, side, side), dtype=np.float32)
    found = run(graph, {"pixels": nothing})
    graph.unlink()
    return {f"made.blank_{name}": values for name, values in found.items()}
