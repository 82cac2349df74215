"""`python -m bench.methods tables`: the records of `world` and `speed` as tables of docs/methods.md, between their markers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def with_tables(text: str, results: Path) -> str:
    """A page's text with every record there is between its markers."""
    for record in sorted(results.glob("methods-*.json")):
        text = with_lines(text, record.stem, lines_of(json.loads(record.read_text(encoding="utf-8"))))
    return text


def with_lines(text: str, name: str, lines: Sequence[str]) -> str:
    """A page's text with lines between the markers of a name; raises `ValueError` where they are not, once each."""
    begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"the page must hold `{begin}` and after it `{end}`, once each; put them where the table belongs")
    before, _, rest = text.partition(begin)
    return "\n".join([f"{before}{begin}", "", *lines, "", f"{end}{rest.partition(end)[2]}"])


def lines_of(record: Row) -> list[str]:
    """The table of a record."""
    if "look_ms" in record["rows"][0] and "pass_ms" in record["rows"][0]:
        return [*speed_lines(record)]
    return [*world_lines(record)]


def world_lines(record: Row) -> Iterator[str]:
    """What every method finds, the best first; the ways to ask a method stay together."""
    best: dict[str, float] = {}
    for row in record["rows"]:
        best[row["method"]] = max(best.get(row["method"], 0.0), row["gt_known"][0])
    yield "| method | asked | threshold | GT-known | first box | box IoU | pixel mIoU | PxAP | passes | by its own cut |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for row in sorted(record["rows"], key=lambda row: (-best[row["method"]], row["method"], -row["gt_known"][0])):
        middle, low, high = (100 * each for each in row["gt_known"])
        shares = (row["first_box"][0], row["box_iou"][0], row["miou"][0], row["pxap"])
        cells = [f"`{row['method']}`", row["asked"], f"{row['threshold']:g}", f"{middle:.1f} ± {(high - low) / 2:.1f}"]
        cells += [f"{100 * each:.1f}" for each in shares] + [f"{row['passes']:g}", own_cut(row)]
        yield f"| {' | '.join(cells)} |"


def own_cut(row: Row) -> str:
    """GT-known as a method cuts its maps by itself."""
    own = row.get("own")  # older rows have none
    return "" if own is None else f"{100 * own['gt_known'][0]:.1f} ({'Otsu' if own['cut'] == 'otsu' else own['threshold']})"


def speed_lines(record: Row) -> Iterator[str]:
    """What every method takes, in the order of the table of methods."""
    rows = record["rows"]
    theirs = any("theirs_ms" in row for row in rows)
    took = f"a plain pass took {rows[0]['pass_ms']:.0f} ms (median)"
    yield f"{record['model']}, seeded, {record['limit']} rounds, {record['machine']}, threads: {record['threads']}; {took}."
    yield ""
    head = [
        "method",
        "a picture, ms (middle half)",
        "in plain passes",
        "a further question, ms",
        *["the authors' code, ms"] * theirs,
    ]
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        asked = row["ask_ms"][0]
        cells = [
            f"`{row['method']}`",
            middle_half(row["look_ms"]),
            f"{row['passes_long']:.2f}",
            f"{asked:.{0 if asked >= 10 else 2}f}" if asked else "",
        ]
        more = [middle_half(row["theirs_ms"]) if "theirs_ms" in row else ""] if theirs else []
        yield f"| {' | '.join([*cells, *more])} |"


def middle_half(figures: Sequence[float]) -> str:
    """A median, and the middle half around it."""
    median, low, high = figures
    return f"{median:.0f} ({low:.0f} to {high:.0f})"
