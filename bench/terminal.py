"""What the commands share: how options are read, how an error ends them, and what their tables look like."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from runtime.encoder import StreamProgress

NARROW = 140  # columns that the tables need

Say = Callable[[str], None]


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number above 0")
    return int(text)


def several(kind: str, known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Reads names with commas between, each a known one of its kind."""

    def read(text: str) -> tuple[str, ...]:
        found = tuple(name.strip() for name in text.split(","))
        unknown = [name for name in found if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{kind} `{unknown[0]}` is unknown: choose from {', '.join(known)}")
        return found

    return read


@contextmanager
def expected_errors(*kinds: type[Exception]) -> Iterator[None]:
    """An error of these kinds is one line on stderr and exit code 1; any other is a fault of ours, and shows its trace."""
    try:
        yield
    except kinds as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


@contextmanager
def pictures_bar(doing: str, lines: bool = False) -> Iterator[StreamProgress]:
    """Count pictures on stderr, with the time left: a bar on a terminal, from the first one on; elsewhere nothing, or `lines`."""
    shown = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(32), MofNCompleteColumn(), TextColumn("pictures,"))
    times = (TimeElapsedColumn(), TextColumn("so far,"), TimeRemainingColumn(), TextColumn("left"))
    hidden = not shown.is_terminal
    progress = Progress(*columns, *times, console=shown, transient=not lines, disable=hidden, speed_estimate_period=600)
    task = progress.add_task(doing, total=None)

    def tick(done: int, total: int | None) -> None:
        progress.start()
        progress.update(task, completed=done, total=total)
        if hidden and lines and total is not None and (done == total or done % max(1, total // 10) == 0):
            shown.print(f"{doing}: {done} of {total} pictures", highlight=False)

    try:
        yield tick
    finally:
        if progress.live.is_started:  # stopping an idle one would print an empty line
            progress.stop()


@contextmanager
def step_lines() -> Iterator[Say]:
    """Say what is being done, on stderr: one changing line on a terminal, one plain line per step anywhere else."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        with console.status("starting") as status:
            yield status.update
    else:
        yield lambda step: print(step, file=sys.stderr, flush=True)


def wide_console() -> Console:
    """A console that does not squeeze the tables."""
    return Console(highlight=False, width=max(Console().width, NARROW))


def make_table(title: str, columns: Iterable[str]) -> Table:
    """An empty table, its first column to the left and all others to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, header_style="dim", padding=(0, 1))
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left", no_wrap=not place)
    return table


def write_text(file: Path, text: str) -> Path:
    """Write a file, its folder too."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file
