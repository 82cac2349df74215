"""Timing masked passes on this machine while a bundle is built: which batch, which device, and whether eight bits are faster."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
from pathlib import Path

import torch
from rich.table import Table
from torch import nn

from engine.manifest import Manifest
from export import assemble, show
from export.graphs import MaskedGraph, Pixels
from export.onnx_files import WeightsFile, export_graph, save_graph
from export.options import EIGHT_BITS, SLOTS, BuildOptions
from export.weights import Loaded
from runtime.errors import VlscoreError
from runtime.measurements import Timing, keep
from runtime.tuning import Passes, Setting, measure, open_graph, settings, timed

CANDIDATES = (8, 16, 32, 64)
BATCH_ROUNDS = 3
NEAR = 0.97  # of the fastest: a smaller batch that is as fast takes less memory
SPEED_ROUNDS = 5
LEAST_GAIN = 1.1  # less is noise

Timings = dict[int, list[Timing]]  # by batch
Speeds = dict[str, dict[str, float]]  # passes per second by device and precision


class SpeedError(VlscoreError, RuntimeError):
    """A precision that costs accuracy and brings no speed."""


def best_batch(loaded: Loaded, options: BuildOptions, report: show.Report) -> int:
    """Time the passes at several batches, print the table, and choose the best batch."""
    timings = time_batches(loaded, options, report)
    best = choose_batch(timings, options.precision)
    print_table(timings, best)
    return best


def time_batches(loaded: Loaded, options: BuildOptions, report: show.Report) -> Timings:
    """Time the masked graph in every setting of this machine, at each batch up to the number of maps."""
    timings: Timings = {}
    with tempfile.TemporaryDirectory() as parent:
        for size in CANDIDATES:
            parts = assemble.take_apart(loaded, dataclasses.replace(options, batch=size))
            if size > parts.maps.count and timings:
                break
            report(f"timing batches of {size}")
            folder = Path(parent) / str(size)
            folder.mkdir()
            timings[size] = measure(folder / "masked.onnx", write_masked(folder, loaded, parts, options), BATCH_ROUNDS)
    return timings


def choose_batch(timings: Timings, precision: str) -> int:
    """The smallest batch that is as good as the fastest, in the precision that the bundle runs in by itself."""
    wanted = "fp32" if precision in EIGHT_BITS else precision
    speeds = {size: max(one.passes_per_s for one in measured if one.precision == wanted) for size, measured in timings.items()}
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


def print_table(timings: Timings, best: int) -> None:
    """Print how fast each batch ran in each setting, and which one was chosen."""
    columns = [(one.device, one.precision, one.threads) for one in next(iter(timings.values()))]
    table = Table("batch", title="passes per second by batch", title_justify="left")
    for device, precision, threads in columns:
        table.add_column(f"{device} {precision}, {threads} thread{'s' if threads > 1 else ''}", justify="right")
    for size, measured in timings.items():
        speed = {(one.device, one.precision, one.threads): one.passes_per_s for one in measured}
        row = (f"{speed[column]:.4g}" for column in columns)
        table.add_row(f"{size} (chosen)" if size == best else str(size), *row, style="bold" if size == best else "")
    show.console.print(table)


def time_devices(folder: Path, manifest: Manifest) -> None:
    """Time a finished bundle on every device of this machine, for `auto` to choose by."""
    keep(manifest, measure(folder / manifest.graphs["masked"].file, Passes.of(manifest)))


def compare_speeds(before: Path, after: Path, manifest: Manifest) -> Speeds:
    """Passes per second of two masked graphs on every device that is here, taking turns; the median of the rounds."""
    passes = Passes.of(manifest)
    inputs = passes.example_inputs()
    speeds: Speeds = {}
    for setting in most_threads(passes.precision):
        sessions = {
            "fp32": open_graph(Setting(setting.device, "fp32", setting.threads), before),
            passes.precision: open_graph(setting, after),
        }
        for session in sessions.values():
            session.run(inputs)
        rounds = [{name: timed(session, inputs) for name, session in sessions.items()} for _ in range(SPEED_ROUNDS)]
        speeds[setting.device] = {
            name: float(f"{passes.batch / statistics.median(one[name] for one in rounds):.4g}") for name in sessions
        }
    return speeds


def most_threads(precision: str) -> list[Setting]:
    """One setting per device, with all its threads."""
    found: dict[str, Setting] = {}
    for setting in settings(precision):
        found.setdefault(setting.device, setting)
    return list(found.values())


def check_speeds(speeds: Speeds, precision: str) -> None:
    """Raise SpeedError, with the figures, unless the best device is faster than the best one in float32."""
    best, usual = (max(speed[name] for speed in speeds.values()) for name in (precision, "fp32"))
    if best < LEAST_GAIN * usual:
        figures = "; ".join(f"{device}: {speed[precision]:g} after {speed['fp32']:g} in fp32" for device, speed in speeds.items())
        raise SpeedError(
            f"the {precision} bundle is not truly faster here and was not kept (passes/s: {figures}); it has to be "
            f"{LEAST_GAIN:g} times as fast. Use the fp32 bundle, or run it in bf16: `--precision bf16` where the processor has it"
        )
