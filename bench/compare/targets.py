"""What is asked of RN50 on a card, and whether a record shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.compare.record import Record, Row, rounded, rows_of

BACKBONE, RIVAL = "RN50", "compile-fp16"
EXACT, FAST = ("exact-cuda-fp16", "exact-tensorrt-fp16"), ("fast-cuda-fp16", "fast-tensorrt-fp16")

Rows = dict[str, Row]


@dataclass(frozen=True)
class Target:
    """A figure that the best of some contenders should reach."""

    title: str
    wanted: float
    names: tuple[str, ...]
    figure: Callable[[Row, Rows], float | None]
    better: Callable[..., Any]  # min or max


def milliseconds(row: Row, rows: Rows) -> float | None:
    """The median picture."""
    return 1000 * row.seconds_per_picture[0] if row.seconds_per_picture else None


def times_rival(row: Row, rows: Rows) -> float | None:
    """How many times as fast as torch.compile."""
    own, rival = milliseconds(row, rows), milliseconds(rows[RIVAL], rows) if RIVAL in rows else None
    return rival / own if own and rival else None


TARGETS = (
    Target("exact RN50, fp16, ms per picture", 80.0, EXACT, milliseconds, min),
    Target("times as fast as torch.compile, fp16", 1.5, EXACT, times_rival, max),
    Target("share of the card's fp16 matrix rate", 0.5, EXACT, lambda row, rows: row.share, max),
    Target("fast RN50, fp16, ms per picture", 12.0, FAST, milliseconds, min),
)


def verdicts(record: Record) -> list[str]:
    """Every target in a line: met, missed, or not measured; none of a processor or of another model."""
    task = record["task"]
    if task["device"] == "cpu" or task["backbone"] != BACKBONE:
        return []
    rows = {row.name: row for row in rows_of(record)}
    return [verdict(target, rows) for target in TARGETS]


def verdict(target: Target, rows: Rows) -> str:
    """One target, by the contender that does best in it."""
    asked = {name: target.figure(rows[name], rows) for name in target.names if name in rows}
    found = {name: figure for name, figure in asked.items() if figure is not None}
    told = f"Target {target.title}, {target.wanted:g}: "
    if not found:
        return f"{told}not measured"
    best = target.better(found, key=lambda name: found[name])
    met = target.better(found[best], target.wanted) == found[best]
    return f"{told}{'met' if met else 'missed'}, found {rounded(found[best]):g} ({best})"
