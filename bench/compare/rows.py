"""One row of the comparison, from measured turns to the numbers shown; plain values that JSON can hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from bench.compare.job import Agreement, Facts, Reference, Turn, Whole
from bench.compare.statistics import middle
from bench.compare.ways import Way
from engine.metrics import box_agreement


@dataclass
class Row:
    """What is known of one way; a way that did not run has its reason and nothing else."""

    name: str
    title: str
    computes: str
    precision: str
    ours: bool
    reason: str = ""  # why it was not run
    device: str = ""
    needed: int = 0  # passes per picture
    turns: int = 0
    passes_per_s: list[float] | None = None  # median, first and third quartile
    seconds_per_picture: list[float] | None = None
    derived: bool = True  # seconds are reckoned from the rate, not taken from whole pictures
    gflops: float | None = None
    share: float | None = None  # of the machine's best matrix rate in that precision
    peak_mib: float | None = None
    peak_whole: bool = False  # the peak is of a whole picture, not of a turn's passes alone
    agreement: dict[str, Any] | None = None
    whole: dict[str, Any] | None = None
    extra: dict[str, float] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; a row that was not run is short."""
        values = asdict(self)
        return {name: value for name, value in values.items() if value not in (None, "", {}, 0) or name in ("ours", "derived")}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Row:
        """Read what `to_dict` wrote."""
        return cls(**{"reason": "", "needed": 0, **values})


def refused(way: Way, reason: str) -> Row:
    """The row of a way that was not run."""
    return Row(way.name, way.title, way.computes, way.precision, way.ours, reason)


def started(way: Way, facts: Facts, agreement: Agreement) -> Row:
    """The row of a way that is ready and agrees with the oracle."""
    row = Row(way.name, way.title, way.computes, way.precision, way.ours, device=facts.device, needed=facts.needed)
    row.agreement = {**asdict(agreement), "error": rounded(agreement.error), "deviation": rounded(agreement.deviation)}
    row.extra, row.versions = dict(facts.extra), dict(facts.versions)
    return row


def add_turns(row: Row, turns: Sequence[Turn]) -> None:
    """Turn a way's turns into its rate and its seconds per picture."""
    row.turns = len(turns)
    if row.needed:
        row.passes_per_s = quartiles([turn.passes / turn.seconds for turn in turns])
    row.seconds_per_picture = quartiles([picture_seconds(turn, row.needed) for turn in turns])
    row.derived = bool(row.needed)


def picture_seconds(turn: Turn, needed: int) -> float:
    """Seconds of a picture at the pace of one turn."""
    return turn.once + (needed * turn.seconds / turn.passes if needed else 0.0)


def add_rate(row: Row, reference: Reference, best: dict[str, float]) -> None:
    """How much arithmetic a way does per second, and what share of the machine's best that is."""
    if row.passes_per_s is None:
        return
    row.gflops = rounded(row.passes_per_s[0] * reference.flops / 1e9)
    if row.precision in best:
        row.share = rounded(row.gflops / best[row.precision])


def add_whole(row: Row, whole: Whole, published: Whole | None, reference: Reference) -> None:
    """A picture localized from end to end, held against the published way's answer where there is one.

    Constant maps are left out: their scores are 0 but for rounding, on whichever side it falls.
    """
    live = reference.live
    figures: dict[str, Any] = {"seconds": rounded(whole.seconds), "passes": whole.passes, "boxes": len(whole.xyxy)}
    if whole.scores is not None:
        figures["kept"] = int((whole.scores > 0)[live].sum())
    if published is not None and whole is not published:
        figures["box_agreement"] = rounded(box_agreement(whole.xyxy, published.xyxy))
        if whole.scores is not None and published.scores is not None:
            figures["flips"] = int(((whole.scores > 0) != (published.scores > 0))[live].sum())
            figures["max_score_difference"] = rounded(float(np.abs(whole.scores - published.scores)[live].max()))
        if whole.grid is not None and published.grid is not None:
            figures["max_saliency_difference"] = rounded(float(np.abs(whole.grid - published.grid).max()))
    row.whole = figures


def quartiles(values: Sequence[float]) -> list[float]:
    """Median, first and third quartile, rounded."""
    found = middle(values)
    return [rounded(found.median), rounded(found.low), rounded(found.high)]


def rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")
