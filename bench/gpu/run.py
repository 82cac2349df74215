"""What one run knows so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.compare.rounds import Say
from bench.compare.rows import Row, quartiles, rounded
from bench.compare.workers import Worker
from bench.gpu import card
from bench.gpu.options import Options
from bench.gpu.timed import Schedule


@dataclass
class Run:
    """The options, the time, and everything measured."""

    options: Options
    threads: int
    say: Say
    schedule: Schedule
    card: dict[str, Any] = field(default_factory=dict)
    built: dict[str, str] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    rates: list[dict[str, float]] = field(default_factory=list)  # GFLOP/s, round by round
    states: list[dict[str, Any]] = field(default_factory=list)  # of the card, round by round
    busy: list[float] = field(default_factory=list)
    queries: dict[str, dict[str, float]] = field(default_factory=dict)
    faithful: dict[str, Any] = field(default_factory=dict)
    cold: dict[str, Any] = field(default_factory=dict)
    rounds: int = 0
    matrices: Worker | None = None  # multiplies matrices between the rounds, where PyTorch can use the device

    @property
    def number(self) -> int | None:
        """The card's number, where a card is asked for."""
        return card.number_of(self.options.device) if self.options.on_card else None

    def best(self) -> dict[str, float]:
        """The best matrix rates seen."""
        return {kind: rounded(max(values)) for kind, values in self.by_kind().items()}

    def spread(self) -> dict[str, list[float]]:
        """Median and quartiles of every matrix rate."""
        return {kind: quartiles(values) for kind, values in self.by_kind().items()}

    def by_kind(self) -> dict[str, list[float]]:
        """The matrix rates of all rounds, by precision."""
        kinds = sorted({kind for one in self.rates for kind in one})
        return {kind: [one[kind] for one in self.rates if kind in one] for kind in kinds}

    def used_mib(self) -> float | None:
        """What of the card's memory is in use, by anybody."""
        found = card.state(self.number).get("used_mib") if self.number is not None else None
        return found if isinstance(found, float) else None
