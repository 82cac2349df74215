"""The command: options in, tables, JSON and pictures out."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from threadpoolctl import threadpool_limits

from bench.accuracy.encode import Ticker
from bench.accuracy.lab import Lab
from bench.accuracy.options import Options, parse
from bench.accuracy.report import show
from bench.accuracy.results import Results
from bench.accuracy.run import CHOICES, REPORTED, clock, run
from bench.command_line import told_errors
from runtime.errors import VlscoreError

NARROW = 124  # columns that the tables need


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a refusal is one line on stderr and exit code 1."""
    options = parse(arguments)
    with told_errors(VlscoreError, FileNotFoundError, ValueError):
        measure(options, Console(highlight=False, width=max(Console().width, NARROW)))


def measure(options: Options, console: Console) -> Results:
    """Measure what the options ask for, print it, and write the files."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="vlscore-accuracy-") as temporary:
        lab = Lab(options, options.cache or Path(temporary), bar)
        # A search is thousands of tiny matrix products, which several threads only make slower.
        with threadpool_limits(1, user_api="blas"):
            results = run(lab, lambda step: console.print(f"[dim]{step}[/]"))
        files = drawn(lab, results) if options.plots else []
    results.seconds["encode"] = lab.seconds
    results.seconds["all"] = time.perf_counter() - started
    show(console, results)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results.to_dict(), indent=1) + "\n", encoding="utf-8")
        files.append(options.json)
    for file in files:
        console.print(f"[dim]wrote {file}[/]", soft_wrap=True)
    steps = ", ".join(f"{name} {value:.0f} s" for name, value in results.seconds.items())
    about = results.about
    console.print(
        f"{about['model']} ({about['precision']}) on {about['device']}: {about['passes']} passes; {steps}", soft_wrap=True
    )
    return results


def drawn(lab: Lab, results: Results) -> list[Path]:
    """Draw the figures and the gallery."""
    from bench.accuracy.gallery import draw_gallery  # here: a run without plots needs no matplotlib
    from bench.accuracy.plots import draw_all

    folder = lab.options.plots or Path()
    splits = [split for split in (REPORTED, CHOICES, *lab.options.splits) if split in lab.options.splits]
    spec = results.search.best.spec if results.search else lab.spec
    with clock(results, "plots"):
        return [*draw_all(results, folder), *(draw_gallery(lab, splits[0], spec, folder) if splits else [])]


@contextmanager
def bar(doing: str) -> Iterator[Ticker]:
    """A progress bar on stderr that appears with the first picture encoded."""
    columns = (TextColumn("{task.description}"), BarColumn(32), MofNCompleteColumn(), TextColumn("pictures,"))
    times = (TimeElapsedColumn(), TextColumn("so far,"), TimeRemainingColumn(), TextColumn("left"))
    shown = Console(stderr=True)
    progress = Progress(*columns, *times, console=shown, transient=True, disable=not shown.is_terminal, speed_estimate_period=600)
    task = progress.add_task(f"encoding {doing}", total=None)

    def tick(done: int, total: int) -> None:
        progress.start()
        progress.update(task, completed=done, total=total)

    try:
        yield tick
    finally:
        if progress.live.is_started:  # stopping an idle one would print an empty line
            progress.stop()
