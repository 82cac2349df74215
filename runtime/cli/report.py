"""What `locate` prints: tables, then what was found in how many pictures, then the model and the time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from engine.methods import DEFAULT_METHOD, METHODS
from runtime.cli.inputs import Source
from runtime.cli.tables import answers_table, counted, pictures_table
from runtime.localization import Localization

FEW = 3  # pictures, up to which each gets a table of its own


class Report:
    """Prints to stdout."""

    def __init__(self, verbose: bool = False) -> None:
        self.console, self.verbose = Console(highlight=False), verbose

    def picture(self, source: Source, found: Sequence[Localization], drawn: Path | None) -> None:
        """One picture: its name and size, what was found, and where the drawing is."""
        height, width = found[0].frame.picture_hw
        title = Text.assemble((str(source), "bold"), (f"  {width} x {height}", "dim"))
        self.console.print(title, soft_wrap=True)
        table = answers_table(found, self.console.width, self.verbose)
        self.console.print(Padding(table, (0, 0, 0, 1), expand=False))
        if drawn is not None:
            self.console.print(Text(f"  drawn: {drawn}\n", "dim"), soft_wrap=True)

    def pictures(self, entries: Sequence[dict[str, Any]], queries: Sequence[str], folder: Path | None, skipped: int) -> None:
        """Many pictures: a line for each, and how many show what."""
        if any("answers" in entry for entry in entries):
            self.console.print(Padding(pictures_table(entries, queries), (0, 0, 0, 1), expand=False))
        self.console.print(Text(counted(entries, queries, skipped)), soft_wrap=True)
        if folder is not None:
            self.console.print(Text(f"drawn in {folder}", "dim"), soft_wrap=True)

    def summary(self, info: dict[str, Any], passes: int, seconds: float) -> None:
        """The last line: model, device, passes, seconds."""
        weights = "random weights" if not info["trained"] else info["weights"]
        ways = [(info.get("method"), "vl-score"), (info.get("preset"), "exact")]
        how = "".join(f", {way}" for way, usual in ways if way not in (None, usual))
        line = (
            f"{info['model']} ({weights}, {info['precision']}{how}) on {info['device']} ({info['backend']}): "
            f"{passes} {'pass' if passes == 1 else 'passes'}, {seconds:.1f} s"
        )
        self.console.print(Text(line, "dim"), soft_wrap=True)
        method = info.get("method", DEFAULT_METHOD)
        if METHODS[method].family != "masked":
            told = f"`{method}` always sees something: whether a thing is there, `--method {DEFAULT_METHOD}` tells"
            self.console.print(Text(told, "dim"), soft_wrap=True)
