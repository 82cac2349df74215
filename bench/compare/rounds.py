"""Turn after turn, round after round: every contender that could be set up, one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from bench.compare.task import Turn, UnavailableError
from bench.terminal import Say

TakeTurn = Callable[[], Turn]


@dataclass
class Taken:
    """The turns of every contender, and why some have none."""

    turns: dict[str, list[Turn]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    rounds: int = 0


def take_turns(contenders: Mapping[str, TakeTurn], rounds: int, budget: float, say: Say, each: Callable[[], None]) -> Taken:
    """Give every contender one turn per round, and begin no further round that `budget` seconds would not see the end of.

    Odd rounds go backwards, so that none always follows the same neighbour. A contender that fails is left out from then
    on; its earlier turns do not count. `each` is called once per round.
    """
    taken = Taken({name: [] for name in contenders})
    began, spent, longest = time.perf_counter(), 0.0, 0.0
    while taken.rounds < rounds and (taken.rounds == 0 or spent + longest <= budget):
        left = [name for name in contenders if name not in taken.failures]
        for name in left if taken.rounds % 2 == 0 else reversed(left):
            say(f"round {taken.rounds + 1} of {rounds}: {name}")
            try:
                taken.turns[name].append(contenders[name]())
            except UnavailableError as error:
                taken.failures[name] = str(error)
                taken.turns[name].clear()
        each()
        taken.rounds += 1
        before, spent = spent, time.perf_counter() - began
        longest = max(longest, spent - before)
    return taken
