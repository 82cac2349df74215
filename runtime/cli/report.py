"""What `locate` prints: a table per picture, then one line about the model and the time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runtime.localization import Localization

MOST_BOXES = 6  # rows per query; the JSON has them all
WIDE = 80  # characters
NUMBERS = ("x0", "y0", "x1", "y1", "score")


class Report:
    """Prints to stdout."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)

    def picture(self, source: Path, found: Sequence[Localization], drawn: Path | None) -> None:
        """One picture: its name and size, what was found, and where the drawing is."""
        height, width = found[0].frame.picture_hw
        title = Text.assemble((str(source), "bold"), (f"  {width} x {height}", "dim"))
        self.console.print(title, soft_wrap=True)
        self.console.print(Padding(answers_table(found, self.console.width), (0, 0, 0, 1), expand=False))
        if drawn is not None:
            self.console.print(Text(f"  drawn: {drawn}\n", "dim"), soft_wrap=True)

    def summary(self, info: dict[str, Any], passes: int, seconds: float) -> None:
        """The last line: model, device, passes, seconds."""
        weights = "random weights" if not info["trained"] else info["weights"]
        how = "" if info.get("preset", "exact") == "exact" else f", {info['preset']}"
        line = (
            f"{info['model']} ({weights}, {info['precision']}{how}) on {info['device']} ({info['backend']}): "
            f"{passes} passes, {seconds:.1f} s"
        )
        self.console.print(Text(line, "dim"), soft_wrap=True)


def answers_table(found: Sequence[Localization], width: int) -> Table:
    """Rows of boxes, best first, under their queries; a narrow terminal leaves the last column out."""
    table = Table(box=SIMPLE_HEAD, header_style="dim", border_style="dim", padding=(0, 1), pad_edge=False)
    table.add_column("query", overflow="fold", min_width=8, max_width=36)
    table.add_column("found", no_wrap=True)
    for name in NUMBERS:
        table.add_column(name, justify="right", no_wrap=True, min_width=4)
    if width >= WIDE:
        table.add_column("maps kept", justify="right", no_wrap=True, min_width=len("2048 of 2048"))
    for answer in found:
        for row in rows(answer):
            table.add_row(*row[: len(table.columns)])
    return table


def rows(answer: Localization) -> list[list[str | Text]]:
    """Rows of one answer: one per box, or one that says there is none."""
    query, kept = Text(answer.query), Text(f"{answer.kept} of {answer.maps}", "dim")
    if not len(answer):
        verdict = Text("no box" if answer.present else "no", "yellow")
        return [[query, verdict, *[Text("-", "dim")] * len(NUMBERS), kept]]
    lines: list[list[str | Text]] = []
    for edges, score in list(zip(answer.xyxy.tolist(), answer.scores.tolist(), strict=True))[:MOST_BOXES]:
        first: list[str | Text] = ["", ""] if lines else [query, Text("yes", "green")]
        lines.append([*first, *(f"{edge:.0f}" for edge in edges), f"{score:.2f}", "" if lines else kept])
    if len(answer) > MOST_BOXES:
        lines.append([Text(f"and {len(answer) - MOST_BOXES} more boxes", "dim")])
    return lines
