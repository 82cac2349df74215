"""Deadlines: parts that share one budget, and workers that are not waited for longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.compare.job import UnavailableError
from bench.compare.workers import Answer, Make, Worker

Work = Callable[[float], Any]


@dataclass(frozen=True)
class Part:
    """How one part of the run went."""

    name: str
    state: str  # done, failed or skipped
    reason: str
    seconds: float


@dataclass
class Schedule:
    """Parts in a row, each with a share of the budget; what one leaves over the next ones have."""

    budget: float
    parts: list[Part] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    given: float = 0.0

    def attempt(self, name: str, share: float, work: Work) -> Any:  # noqa: ANN401 - whatever the part gives
        """Do a part, which is told its deadline; gives its result, or None when it failed: that is never fatal."""
        self.given += share * self.budget
        deadline, started = self.began + self.given, time.monotonic()
        if started >= deadline:
            return self.note(name, "skipped", "the time was spent before it", 0.0)
        try:
            found = work(deadline)
        except Exception as error:  # a part that fails is a line of the record, whatever it ran into
            text = str(error) if isinstance(error, UnavailableError) else f"{type(error).__name__}: {error}"
            return self.note(name, "failed", " ".join(text.split())[:500], time.monotonic() - started)
        self.note(name, "done", "", time.monotonic() - started)
        return found

    def note(self, name: str, state: str, reason: str, seconds: float) -> None:
        """Write down how a part went."""
        self.parts.append(Part(name, state, reason, round(seconds, 2)))

    def to_list(self) -> list[dict[str, Any]]:
        """Plain values."""
        return [asdict(part) for part in self.parts]


class TimedWorker(Worker):
    """A worker whose answers are waited for until a deadline; then its process is ended."""

    def __init__(self, make: Make, arguments: tuple[object, ...], threads: int, deadline: float) -> None:
        self.deadline, self.began = deadline, time.monotonic()
        super().__init__(make, arguments, threads)

    def receive(self) -> Answer:
        """Wait for the answer, not longer than there is time."""
        if not self.pipe.poll(max(0.0, self.deadline - time.monotonic())):
            self.process.kill()
            self.process.join()
            age = time.monotonic() - self.began
            raise UnavailableError(f"it was given up {age:.0f} s after its start: its share of the time was spent")
        return super().receive()
