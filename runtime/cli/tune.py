"""The command `tune`: time every setting on this machine, print the table, keep it for `auto`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from runtime.bundles import find_bundle, open_bundle
from runtime.measurements import Timing, advice, keep
from runtime.tuning import Passes, Ticker, measure


def run(model: str | None, rounds: int) -> None:
    """Measure one bundle."""
    bundle = open_bundle(find_bundle(model))
    manifest = bundle.manifest
    with ticker(manifest.backbone) as tick:
        timings = measure(bundle.graph("masked"), Passes.of(manifest), rounds, tick)
    path = keep(manifest, timings)
    Console(highlight=False).print(table(timings, f"{manifest.backbone}, {manifest.precision}, batches of {manifest.batch}"))
    typer.echo(f"kept in {path}\nauto: {advice(manifest).reason}")


@contextlib.contextmanager
def ticker(name: str) -> Iterator[Ticker]:
    """A bar on stderr that follows a measurement."""
    columns = (TextColumn("{task.description}"), BarColumn(24), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name)

        def tick(done: int, total: int, doing: str) -> None:
            bar.update(task, completed=done, total=total, description=f"{name}: {doing}")

        yield tick


def table(timings: Sequence[Timing], title: str) -> Table:
    """Settings and their speed, fastest first."""
    found = Table("device", "precision", "threads", "passes/s", "", title=title, title_justify="left")
    fastest = max(timing.passes_per_s for timing in timings)
    for timing in timings:
        share = f"{timing.passes_per_s / fastest:.0%}"
        found.add_row(timing.device, timing.precision, str(timing.threads), f"{timing.passes_per_s:.4g}", share)
    return found
