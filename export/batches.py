"""The number of passes per run that this machine likes best: the masked graph is exported at several and timed."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import torch
from torch import nn

from export import assemble
from export.graphs import MaskedGraph, Pixels
from export.onnx_files import WeightsFile, export_graph, save_graph
from export.options import EIGHT_BITS, SLOTS, BuildOptions
from export.weights import Loaded
from runtime.measurements import Timing
from runtime.tuning import Passes, measure

CANDIDATES = (8, 16, 32, 64)
ROUNDS = 3
NEAR = 0.97  # of the fastest: a smaller batch that is as fast takes less memory
Found = dict[int, list[Timing]]


def time_batches(loaded: Loaded, options: BuildOptions, report: assemble.Report) -> Found:
    """Time the masked graph in every setting of this machine, at each batch up to the number of maps."""
    found: Found = {}
    with tempfile.TemporaryDirectory() as folder:
        for size in CANDIDATES:
            parts = assemble.take_apart(loaded, dataclasses.replace(options, batch=size))
            if size > parts.maps.count and found:
                break
            report(f"timing batches of {size}")
            place = Path(folder) / str(size)
            place.mkdir()
            found[size] = measure(place / "masked.onnx", write_masked(place, loaded, parts, options), ROUNDS)
    return found


def choose(found: Found, precision: str) -> int:
    """The smallest batch that is as good as the fastest, in the precision that the bundle runs in by itself."""
    wanted = "fp32" if precision in EIGHT_BITS else precision
    speeds = {
        size: max(timing.passes_per_s for timing in timings if timing.precision == wanted) for size, timings in found.items()
    }
    return min(size for size, speed in speeds.items() if speed >= NEAR * max(speeds.values()))


def write_masked(folder: Path, loaded: Loaded, parts: assemble.Parts, options: BuildOptions) -> Passes:
    """Write the masked graph alone."""
    sizes = (parts.side, parts.maps.height, parts.maps.width)
    pixels = Pixels(loaded.preprocessing.mean, loaded.preprocessing.std)
    module: nn.Module = MaskedGraph(pixels, parts.encoder, parts.dtype, sizes, assemble.masks_of(options))
    inputs = {
        "pixels": torch.zeros(SLOTS, parts.side, parts.side, 3, dtype=torch.uint8),
        "which": torch.zeros(parts.batch, dtype=torch.int64),
        "maps": torch.rand(parts.batch, *sizes[1:]),
    }
    save_graph(export_graph(module, inputs, ("embeddings",)), folder / "masked.onnx", WeightsFile(folder / "masked.onnx.weights"))
    precision = "fp32" if options.precision in EIGHT_BITS else options.precision
    return Passes(precision, parts.batch, SLOTS, parts.side, (parts.maps.height, parts.maps.width))
