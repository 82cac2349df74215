"""What is asked of an engine on a card, and whether a record shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from bench.compare.rows import Row, rounded

BACKBONE = "RN50"
EXACT = ("exact-cuda-fp16", "exact-tensorrt-fp16")
FAST = ("fast-cuda-fp16", "fast-tensorrt-fp16")
YARDSTICK = "compile-fp16"
ALL_MAPS_MS, FAST_MS, FASTER, SHARE = 80.0, 12.0, 1.5, 0.5


@dataclass(frozen=True)
class Verdict:
    """One target: met, missed, or not measured, and why not."""

    target: str
    wanted: float
    found: float | None
    verdict: str
    by: str  # the way that did best, or why there is none


def verdicts(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Every target, judged from the rows of one run."""
    rows = {values["name"]: Row.from_dict(values) for values in record["ways"]}
    unfit = unfitness(record)
    return [asdict(verdict) for verdict in judged({} if unfit else rows, unfit)]


def unfitness(record: dict[str, Any]) -> str:
    """Why this record can meet no target; empty when it can."""
    job = record["job"]
    if job["device"] == "cpu":
        return "measured on a processor, not on a card"
    if job["backbone"] != BACKBONE:
        return f"the targets are for {BACKBONE}, this is {job['backbone']}"
    return ""


def judged(rows: dict[str, Row], unfit: str) -> Iterator[Verdict]:
    """The targets one by one."""
    exact = {name: milliseconds(rows[name]) for name in EXACT if ran(rows, name)}
    fast = {name: milliseconds(rows[name]) for name in FAST if ran(rows, name)}
    shares = {name: rows[name].share or 0.0 for name in EXACT if ran(rows, name) and rows[name].share}
    rivals = milliseconds(rows[YARDSTICK]) if ran(rows, YARDSTICK) else None
    ratios = {name: rivals / value for name, value in exact.items()} if rivals is not None else {}
    why = unfit or reasons(rows, EXACT)
    no_ratio = why or reasons(rows, (YARDSTICK,))
    yield judge("exact RN50, fp16, ms per picture", ALL_MAPS_MS, exact, why, at_most)
    yield judge("times as fast as torch.compile, fp16", FASTER, ratios, no_ratio, at_least)
    yield judge("share of the card's fp16 matrix rate", SHARE, shares, why or "the matrix rate was not measured", at_least)
    yield judge("fast RN50, fp16, ms per picture", FAST_MS, fast, unfit or reasons(rows, FAST), at_most)


def judge(target: str, wanted: float, found: dict[str, float], why: str, holds: Callable[[float, float], bool]) -> Verdict:
    """One target by the way that does best in it."""
    if not found:
        return Verdict(target, wanted, None, "not measured", why)
    best = min if holds is at_most else max
    name = best(found, key=lambda way: found[way])
    return Verdict(target, wanted, rounded(found[name]), "met" if holds(found[name], wanted) else "missed", name)


def at_most(found: float, wanted: float) -> bool:
    """Whether a number is small enough."""
    return found <= wanted


def at_least(found: float, wanted: float) -> bool:
    """Whether a number is large enough."""
    return found >= wanted


def ran(rows: dict[str, Row], name: str) -> bool:
    """Whether a way was timed."""
    return name in rows and not rows[name].reason and rows[name].seconds_per_picture is not None


def milliseconds(row: Row) -> float:
    """The median picture."""
    return 1000 * row.seconds_per_picture[0] if row.seconds_per_picture else float("inf")


def reasons(rows: dict[str, Row], names: tuple[str, ...]) -> str:
    """Why none of these ways was timed; empty when one was."""
    if any(ran(rows, name) for name in names):
        return ""
    return "; ".join(f"{name}: {rows[name].reason or 'not timed' if name in rows else 'not asked for'}" for name in names)
