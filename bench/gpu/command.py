"""The command: options in; a record and what it says out."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.command_line import told_errors
from bench.compare.command import read
from bench.compare.machine import ROOT
from bench.gpu.measure import measure
from bench.gpu.options import Options, parse
from bench.gpu.report import show, write_table
from runtime.errors import VlscoreError
from runtime.threads import default_threads

NARROW = 132  # columns that the table needs
REFUSED = (VlscoreError, OSError, ValueError)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a part that fails is no refusal, and a refusal is one line on stderr and exit code 1."""
    options = parse(arguments)
    with told_errors(*REFUSED):
        if options.readme:
            write_table(ROOT / "docs" / "nvidia.md", read(options.readme))
        else:
            run(options, Console(highlight=False, width=max(Console().width, NARROW)))


def run(options: Options, console: Console) -> dict[str, Any]:
    """Measure, print, and write the record."""
    with Console(stderr=True).status("starting") as status:
        record = measure(options, options.threads or default_threads(), status.update)
    show(console, record)
    file = options.json or place(options, record)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        console.print(f"[dim]wrote {file}[/]", soft_wrap=True)
    return record


def place(options: Options, record: dict[str, Any]) -> Path | None:
    """Where a record goes when nobody says: by its card; one without a card, or without a timed way, is shown only."""
    timed = any("reason" not in row for row in record["ways"])
    if not options.on_card or not timed:
        return None
    name = re.sub(r"[^a-z0-9]+", "-", str(record["card"].get("name", "card")).lower()).strip("-")
    return ROOT / "bench" / "results" / f"gpu-{name}.json"
