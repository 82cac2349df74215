"""What a build shows on the terminal: its progress, what was built, what could be built."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.manifest import Manifest
from export.backbones import TABLE, own_names, supported_names, tags
from export.options import LARGE, BuildOptions
from runtime.bundles import bundle_home
from runtime.logs import LOG

BOTH_HALVES = ("image", "masked", "text", "text-short", "text-many", "saliency")
COMPARED = 8  # texts, maps, noise, a few passes, four pictures

console = Console(stderr=True, highlight=False)
Report = Callable[[str], None]


def steps_of(options: BuildOptions) -> int:
    """How many steps a build has: weights, graphs, eight bits, comparison. What is timed first, for `--tune`, comes on top."""
    graphs = len(BOTH_HALVES) + 2  # the blank picture's, and `instant`
    graphs += (options.retry and options.precision != "fp32") + ((options.batch or 0) >= LARGE)
    return 1 + graphs + {"int8": 2, "int8-symmetric": 1}.get(options.precision, 0) + COMPARED


@contextlib.contextmanager
def progress(name: str, total: int) -> Iterator[Report]:
    """Show the steps of a build while they run; gives the function that names the next one. Logs get a line for each."""
    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=total, completed=-1)
        begun = 0

        def report(step: str) -> None:
            nonlocal begun
            begun += 1
            LOG.debug("%s: %s", name, step)
            bar.update(task, description=f"{name}: {step}", advance=1, total=max(total, begun))
            if not console.is_terminal:
                console.print(f"{name}: {begun} of {max(total, begun)}, {step}", markup=False, soft_wrap=True)

        yield report


def say(line: str) -> None:
    """Print a line above the bar."""
    console.print(line, markup=False, soft_wrap=True)


def refusal(error: Exception) -> None:
    """Say why there is no bundle."""
    console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)


def up_to_date(target: Path) -> None:
    """Say that there is nothing to do."""
    say(f"up to date: {target}")
    next_line(target)


def summary(manifest: Manifest, target: Path, seconds: float) -> None:
    """Print what was built and how far it is from PyTorch."""
    size = sum(file.bytes for file in manifest.files.values())
    maps, weights = manifest.maps, manifest.weights
    rows: dict[str, object] = {
        "bundle": target,
        "size": f"{size / 1e6:.0f} MB",
        "weights": weights.tag + ("" if weights.trained else " (seeded random numbers: it knows nothing)"),
        "precision": manifest.precision,
        "maps": f"{maps.count} of {maps.height} x {maps.width} ({maps.source})",
        "batch": manifest.batch,
        **{name.replace("_", " "): value for name, value in manifest.parity.items()},
    }
    table = Table(title=f"{manifest.backbone} built in {seconds:.0f} s", show_header=False, title_justify="left")
    for name, value in rows.items():
        table.add_row(name, str(value))
    console.print(table)
    next_line(target)


def next_line(target: Path) -> None:
    """Print what to run with a bundle: by its name where it lies with the others, else by its folder."""
    model = target.name if target.parent == bundle_home() else target
    say(f'next: vlscore locate PICTURE "a red bus" --model {shlex.quote(str(model))}')


def methods(manifest: Manifest, target: Path) -> None:
    """Print the methods of a bundle and how far their graphs are from PyTorch."""
    table = Table("method", "side", "grid", "error", title=f"methods of {target}", title_justify="left")
    for name, info in manifest.methods.items():
        table.add_row(name, str(info.side), f"{info.height} x {info.width}", f"{info.parity.get('error', 0):.2g}")
    console.print(table)


def listing() -> None:
    """Print every backbone that can be built and its weights, the published CLIP ones in bold."""
    table = Table("backbone", "weights that open_clip knows", title="backbones", title_justify="left")
    for name in own_names():
        table.add_row(name, "(trained here)", style="bold")
    for name in supported_names():
        table.add_row(name, ", ".join(tags(name)) or "(a local file)", style="bold" if name in TABLE else "")
    Console(highlight=False).print(table)
