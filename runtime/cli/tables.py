"""The tables of `locate`: one picture's boxes in full, or many pictures with a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from runtime.localization import Localization

MOST_BOXES = 6  # rows per query; the JSON has them all
MOST_QUERIES = 4  # that get a column each
NUMBERS = ("x0", "y0", "x1", "y1", "score")
WIDE = 80  # characters


def new_table() -> Table:
    """A table without frames."""
    return Table(box=SIMPLE_HEAD, header_style="dim", border_style="dim", padding=(0, 1), pad_edge=False)


def answers_table(found: Sequence[Localization], width: int, verbose: bool) -> Table:
    """Rows of boxes, best first, under their queries; `verbose` adds how many maps were kept, where there is room."""
    table = new_table()
    table.add_column("query", overflow="fold", min_width=8, max_width=36)
    table.add_column("found", no_wrap=True)
    for name in NUMBERS:
        table.add_column(name, justify="right", no_wrap=True, min_width=4)
    if verbose and width >= WIDE:
        table.add_column("maps kept", justify="right", no_wrap=True, min_width=len("2048 of 2048"))
    for answer in found:
        for row in answer_rows(answer):
            table.add_row(*row[: len(table.columns)])
    return table


def answer_rows(answer: Localization) -> list[list[str | Text]]:
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


def pictures_table(entries: Sequence[dict[str, Any]], queries: Sequence[str]) -> Table:
    """A line per picture: those where something was found first, the surest at the top."""
    table = new_table()
    table.add_column("picture", overflow="fold", max_width=48)
    several = len(queries) > MOST_QUERIES
    for title in ("found",) if several else queries:
        table.add_column(Text(title), justify="left" if several else "right", overflow="fold", min_width=6, max_width=48)
    answered = [entry for entry in entries if "answers" in entry]
    for entry in sorted(answered, key=best_score, reverse=True):
        cells = [cell(answer) for answer in entry["answers"]]
        if several:
            named = [f"{query} {found}" for query, found in zip(queries, cells, strict=True) if found]
            cells = [", ".join(named)]
        found = best_score(entry) > 0
        table.add_row(
            Text(entry["picture"], "" if found else "dim"), *(Text(text or "-", "" if text else "dim") for text in cells)
        )
    return table


def cell(answer: dict[str, Any]) -> str:
    """The best score, and how many boxes where there are several; nothing where there is no box."""
    boxes = answer["boxes"]
    return "" if not boxes else f"{boxes[0]['score']:.2f}" + (f" x{len(boxes)}" if len(boxes) > 1 else "")


def best_score(entry: dict[str, Any]) -> float:
    """The best score of any query; 0 where nothing was found."""
    return max((box["score"] for answer in entry["answers"] for box in answer["boxes"]), default=0.0)


def counted(entries: Sequence[dict[str, Any]], queries: Sequence[str], skipped: int) -> str:
    """One sentence: how many pictures show what."""
    answered = [entry["answers"] for entry in entries if "answers" in entry]
    parts = [
        f"{query}: {sum(bool(answers[number]['boxes']) for answers in answered)} of {len(answered)}"
        for number, query in enumerate(queries)
    ]
    nothing = sum(not any(answer["boxes"] for answer in answers) for answers in answered)
    failed = len(entries) - len(answered)
    notes = [f"{nothing} with nothing found"] if nothing and len(queries) > 1 else []
    notes += [f"{failed} could not be read"] if failed else []
    notes += [f"{skipped} were done already"] if skipped else []
    return "; ".join([*([", ".join(parts)] if answered else []), *notes])
