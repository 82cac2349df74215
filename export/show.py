"""What a build shows on the terminal: its progress, what was built, what could be built."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from engine.manifest import Manifest
from export.backbones import TABLE, own_names, supported_names, tags

STEPS = 8  # weights, six graphs, comparison; ResNets have `instant`, tuning and quantising add theirs

console = Console(stderr=True, highlight=False)
Report = Callable[[str], None]


@contextlib.contextmanager
def progress(name: str) -> Iterator[Report]:
    """Show the steps of a build while they run; gives the function that names the next one."""
    columns = (TextColumn("{task.description}"), BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=STEPS, completed=-1)

        def report(step: str) -> None:
            known = bar.tasks[task]
            total = max(known.total or STEPS, known.completed + 2)  # the step that begins is not done yet
            bar.update(task, description=f"{name}: {step}", advance=1, total=total)

        yield report


def refusal(error: Exception) -> None:
    """Say why there is no bundle."""
    console.print(f"error: {error}", style="red", markup=False, soft_wrap=True)


def up_to_date(target: Path) -> None:
    """Say that there is nothing to do."""
    console.print(f"up to date: {target}", markup=False, soft_wrap=True)


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


def listing() -> None:
    """Print every backbone that can be built and its weights, the published CLIP ones in bold."""
    table = Table("backbone", "weights that open_clip knows", title="backbones", title_justify="left")
    for name in own_names():
        table.add_row(name, "(trained here)", style="bold")
    for name in supported_names():
        table.add_row(name, ", ".join(tags(name)) or "(a local file)", style="bold" if name in TABLE else "")
    Console(highlight=False).print(table)
