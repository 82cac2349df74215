"""The command: options in; tables, record and bars out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.command_line import told_errors
from bench.compare.measure import measure
from bench.compare.options import ROOT, Options, parse
from bench.compare.readme import write_table
from bench.compare.report import show
from bench.compare.ways import chosen
from runtime.errors import VlscoreError
from runtime.threads import default_threads

NARROW = 132  # columns that the tables need
REFUSED = (VlscoreError, FileNotFoundError, RuntimeError, ValueError)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a refusal is one line on stderr and exit code 1."""
    options = parse(arguments)
    with told_errors(*REFUSED):
        if options.readme:
            write_table(ROOT / "docs" / "benchmarks.md", read(options.readme))
        else:
            run(options, Console(highlight=False, width=max(Console().width, NARROW)))


def run(options: Options, console: Console) -> dict[str, Any]:
    """Measure, print, and write the files that were asked for."""
    ways = chosen(options.ways)
    job = options.job(options.threads or default_threads())
    with Console(stderr=True).status("starting") as status:
        record = measure(options, job, ways, status.update)
    show(console, record)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        from bench.compare.plot import draw  # here: a run without a plot needs no matplotlib

        draw(record, options.plot)
    for file in (options.json, options.plot):
        if file:
            console.print(f"[dim]wrote {file}[/]", soft_wrap=True)
    return record


def read(file: Path) -> dict[str, Any]:
    """A record that an earlier run wrote."""
    if not file.is_file():
        raise FileNotFoundError(f"record `{file}` does not exist: make it with `python -m bench.compare --json {file}`")
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record
