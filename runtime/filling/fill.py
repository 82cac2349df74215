"""Filling a template: the tensors of a checkpoint into the graphs of a bundle and their files of weights."""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.manifest import ImageInfo
from engine.resample import upsampler
from runtime.filling.onnx_writer import DTYPES, Stored, WeightsFile, store, write_graph
from runtime.filling.recipes import Floats, Tensors, follow
from runtime.filling.template import Slot, Template

BLANK = "blank"  # the graph of the blank picture: run once, for what the instant graph keeps of it, and removed
Run = Callable[[Path, Mapping[str, Floats]], Mapping[str, Floats]]


def write_graphs(template: Template, tensors: Tensors, image: ImageInfo, folder: Path, run: Run) -> dict[str, str]:
    """Write a bundle's graphs and weights; gives the hash of every file."""
    made = made_tensors(template.manifest, image)
    known: Tensors = ChainMap(made, tensors)  # type: ignore[arg-type] # a chain of read-only maps is never written to
    done: dict[tuple[str, int], Stored] = {}
    with ExitStack() as stack:
        files: dict[str, WeightsFile] = {}
        for graph in template.graphs:
            if graph.weights not in files:
                files[graph.weights] = WeightsFile(folder / graph.weights, files.get(graph.shared))
                stack.callback(files[graph.weights].close)
            path = folder / f"{graph.name}.onnx"
            weights = files[graph.weights]
            write_graph(path, graph.pieces, ((slot.name, slot.dims, stored(slot, known, weights, done)) for slot in graph.slots))
            weights.flush()
            if graph.name == BLANK:
                made.update(look_at_nothing(path, image.side, run))
    hashes = {file.path.name: file.digest.hexdigest() for file in files.values() if file.size}
    return {**hashes, **{path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.onnx")}}


def stored(slot: Slot, tensors: Tensors, weights: WeightsFile, done: dict[tuple[str, int], Stored]) -> Stored:
    """Store one tensor; what several graphs hold is made once, in the file that they share."""
    kind = DTYPES[slot.kind]
    if not slot.recipe:
        return store(np.frombuffer(slot.given, kind), slot.kind, weights)
    key = (slot.recipe, slot.kind)
    if key not in done:
        done[key] = store(follow(slot.recipe, tensors).astype(kind, copy=False), slot.kind, weights)
    return done[key]


def made_tensors(manifest: Mapping[str, Any], image: ImageInfo) -> dict[str, Floats]:
    """What graphs hold that follows from no weight: how pixels are scaled, and how maps are enlarged."""
    maps, align = manifest["maps"], manifest["masks"]["align"]
    spread = np.asarray(image.std, dtype=np.float64)
    return {
        "made.pixel_scale": (1 / (255 * spread)).astype(np.float32),
        "made.pixel_shift": (-np.asarray(image.mean, dtype=np.float64) / spread).astype(np.float32),
        "made.mask_rows": upsampler(align, image.side, maps["height"]).astype(np.float32),
        "made.mask_cols": upsampler(align, image.side, maps["width"]).astype(np.float32),
    }


def look_at_nothing(graph: Path, side: int, run: Run) -> dict[str, Floats]:
    """Run the graph of the blank picture, which is zero once its pixels are scaled, and remove it."""
    nothing: NDArray[np.float32] = np.zeros((1, 3, side, side), dtype=np.float32)
    found = run(graph, {"pixels": nothing})
    graph.unlink()
    return {f"made.blank_{name}": values for name, values in found.items()}
