"""The speed table of docs/benchmarks.md, made from a record, so that no number in it was typed by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.compare.report import BUSY, QUIET, baseline, caption, picture_seconds, short, times
from bench.compare.rows import Row

BEGIN, END = "<!-- speed-all:begin -->", "<!-- speed-all:end -->"
HEAD = ("| | computes | passes/s | seconds per picture | faster | peak memory |", "|---|---|---|---|---|---|")


def table(record: dict[str, Any]) -> str:
    """The table in Markdown, with its caption and what was not run."""
    rows = [Row.from_dict(values) for values in record["ways"]]
    run = [row for row in rows if not row.reason]
    job, slowest = record["job"], baseline(rows)
    lines = [f"{job['backbone']}, {job['live_maps']} live maps, one picture; ways taking turns in one run.", ""]
    lines += [*HEAD, *(line(row, slowest) for row in run), ""]
    lines.append("~: reckoned from the rate. ≥: peak of some passes, not of a whole picture. Ours in bold.")
    lines.extend(f"{sentence}." for sentence in (queries(record), starts(record)) if sentence)
    missing = [f"{row.title} ({row.reason})" for row in rows if row.reason]
    if missing:
        lines.append(f"Not run: {'; '.join(missing)}.")
    return "\n".join([*lines, "", f"<sub>{caption(record)}</sub>"])


def line(row: Row, slowest: float | None) -> str:
    """One way."""
    seconds, reckoned = picture_seconds(row), row.derived and not row.whole
    memory = "" if row.peak_mib is None else f"{'' if row.peak_whole or not row.derived else '≥ '}{row.peak_mib:.0f} MiB"
    bold = "**" if row.ours else ""
    rate = "" if row.passes_per_s is None else short(row.passes_per_s[0])
    shown = "" if seconds is None else f"{bold}{'~' if reckoned else ''}{short(seconds)}{bold}"
    return f"| {bold}{row.title}{bold} | {row.computes} | {rate} | {shown} | {times(row, slowest)} | {memory} |"


def queries(record: dict[str, Any]) -> str:
    """What asking again costs, by the first way that was asked."""
    for figures in record["queries"].values():
        known, new = short(figures["one_known_ms"]), short(figures["one_new_ms"])
        all_known, all_new = (short(figures[f"several_{words}_ms"] / 1000) for words in ("known", "new"))
        return (
            f"A further query on an encoded picture, boxes included: {known} ms in known words, {new} ms in new ones; "
            f"{int(figures['several'])} of them: {all_known} s and {all_new} s"
        )
    return ""


def starts(record: dict[str, Any]) -> str:
    """What a fresh interpreter costs, ours and PyTorch's."""
    sums = {side: short(sum(steps.values())) for side, steps in record["cold"].items()}
    if "vlscore" not in sums:
        return ""
    other = f" (PyTorch with open_clip: {sums['torch']} s)" if "torch" in sums else ""
    return f"From a fresh interpreter to a loaded model: {sums['vlscore']} s{other}"


def write_table(page: Path, record: dict[str, Any]) -> None:
    """Put the table between the markers."""
    page.write_text(with_table(page.read_text(encoding="utf-8"), record), encoding="utf-8")


def with_table(text: str, record: dict[str, Any]) -> str:
    """A page's text with the table between its markers.

    Raises `ValueError` when they are not there, once each, or when the machine was busy.
    """
    if record["machine"]["busy"] > QUIET:
        raise ValueError(BUSY.format(record["machine"]["busy"]))
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the page must hold `{BEGIN}` and after it `{END}`, once each; put them where the table belongs")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{table(record)}\n{END}{rest.partition(END)[2]}"
