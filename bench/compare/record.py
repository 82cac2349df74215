"""The record of a comparison: one row per contender, from measured turns to the numbers shown; plain values for JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.compare.contenders import Contender
from bench.compare.task import Agreement, Facts, Reference, Task, Turn, WholePicture
from engine.metrics import box_agreement

SCHEMA = 2
Record = dict[str, Any]


@dataclass
class Row:
    """What is known of one contender; one that did not run has its reason and nothing else."""

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
    def begin(cls, contender: Contender, facts: Facts, agreement: Agreement) -> Row:
        """The row of a contender that is ready and agrees with the oracle."""
        row = cls.refuse(contender, "")
        row.device, row.needed, row.extra, row.versions = facts.device, facts.needed, dict(facts.extra), dict(facts.versions)
        row.agreement = {**asdict(agreement), "error": rounded(agreement.error), "deviation": rounded(agreement.deviation)}
        return row

    @classmethod
    def refuse(cls, contender: Contender, reason: str) -> Row:
        """The row of a contender that was not run."""
        return cls(contender.name, contender.title, contender.computes, contender.precision, contender.ours, reason)

    def add_turns(self, turns: Sequence[Turn]) -> None:
        """Turn a contender's turns into its rate and its seconds per picture."""
        self.turns = len(turns)
        if self.needed:
            self.passes_per_s = quartiles([turn.passes / turn.seconds for turn in turns])
        self.seconds_per_picture = quartiles([turn.picture_seconds(self.needed) for turn in turns])
        self.derived = not turns[0].pictures
        self.peak_whole = not self.derived

    def add_rate(self, reference: Reference, best: dict[str, float]) -> None:
        """How much arithmetic it does per second, and what share of the machine's best that is."""
        if self.passes_per_s is None:
            return
        self.gflops = rounded(self.passes_per_s[0] * reference.flops / 1e9)
        if self.precision in best:
            self.share = rounded(self.gflops / best[self.precision])

    def add_whole(self, whole: WholePicture, published: WholePicture | None, live: np.ndarray[Any, Any]) -> None:
        """A picture localized from end to end, held against the published way's answer where there is one.

        Constant maps are left out: their scores are 0 but for rounding, on whichever side it falls.
        """
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
        self.whole, self.peak_whole = figures, True

    def picture_seconds(self) -> float | None:
        """Seconds per picture: of a whole one where it was run, else reckoned; rounds of whole pictures come first."""
        if self.whole and self.derived:
            return float(self.whole["seconds"])
        return self.seconds_per_picture[0] if self.seconds_per_picture else None

    @property
    def reckoned(self) -> bool:
        """Whether its seconds are reckoned from the rate alone."""
        return self.derived and not self.whole


def rows_of(record: Record) -> list[Row]:
    """The rows of a record, in the table's order."""
    return [Row(**{"needed": 0, **values}) for values in record["contenders"]]


def describe_task(task: Task, reference: Reference, rounds: int) -> dict[str, Any]:
    """The task by names that mean the same on every machine, and its size."""
    kept = ("device", "query", "spec", "threads", "batch", "passes")
    return {
        **{name: getattr(task, name) for name in kept},
        "backbone": Path(task.backbone).stem if task.backbone.endswith(".json") else task.backbone,
        "pretrained": Path(task.pretrained).name,
        "picture": Path(task.picture).name,
        "rounds": rounds,
        "maps": len(reference.maps),
        "live_maps": reference.needed,
        "gflop_per_pass": rounded(reference.flops / 1e9),
    }


def read_record(file: Path) -> Record:
    """A record that an earlier run wrote; those of schema 1 named their parts otherwise."""
    if not file.is_file():
        raise FileNotFoundError(f"record `{file}` does not exist: make it with `python -m bench.compare --json {file}`")
    record: Record = json.loads(file.read_text(encoding="utf-8"))
    if record["schema"] == 1:
        starts = {"exact" if side == "vlscore" else side: steps for side, steps in record["cold"].items()}
        task = {"device": "cpu", **record["job"]}
        record = {**record, "contenders": record["ways"], "task": task, "starts": starts, "card": {}, "states": [], "bundles": {}}
    return record


def by_kind(rates: Iterable[dict[str, float]]) -> dict[str, list[float]]:
    """The matrix rates of all rounds, by precision."""
    found: dict[str, list[float]] = {}
    for one in rates:
        for kind, rate in one.items():
            found.setdefault(kind, []).append(rate)
    return found


def quartiles(values: Sequence[float]) -> list[float]:
    """Median, first and third quartile, interpolated linearly between values and rounded; raises `ValueError` of none."""
    if not values:
        raise ValueError("`values` must hold at least one number, found none")
    return [rounded(float(value)) for value in np.quantile(np.asarray(values, np.float64), (0.5, 0.25, 0.75))]


def rounded(value: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{value:.4g}")
