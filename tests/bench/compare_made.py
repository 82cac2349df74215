"""Ways made for the tests: they answer at once, and tell what was asked of them. Their processes import this module."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np

from bench.compare.job import Agreement, Facts, Job, Reference, Turn, UnavailableError, Whole

HERE = "tests.bench.compare_made"
JOB = Job("none", "none", None, "cat.jpg", "a cat", "paper", 1, 4, 8)
REFERENCE = Reference(
    pixels=np.zeros((4, 4, 3), np.uint8),
    maps=np.zeros((10, 2, 2), np.float32),
    live=np.arange(10) < 8,
    text=np.ones(1, np.float32),
    sample=np.arange(4),
    scores=np.array([0.1, -0.1, 0.2, 0.3], np.float32),
    other_scores=np.zeros(4, np.float32),
    base_score=0.0,
    flops=1e9,
)


@dataclass
class Steady:
    """Takes a tenth of a second for every pass, by its own account."""

    job: Job
    reference: Reference
    error: float = 0.0
    needed: int = 8

    def facts(self) -> Facts:
        return Facts(self.needed, "made", {"made": "1"})

    def check(self) -> Agreement:
        return Agreement(self.error, self.error, 0, 4)

    def turn(self) -> Turn:
        return Turn(self.job.passes, 0.1 * self.job.passes)

    def whole(self) -> Whole:
        return Whole(0.5, self.needed, np.array([[0.0, 0.0, 2.0, 2.0]]), np.ones((2, 2)), np.full(10, 0.1))

    def pid(self) -> int:
        return os.getpid()


class Asked(Steady):
    """Can be asked again, and tells with which switches it was; a process is asked for one thing or the other."""

    timed = False

    def turn(self) -> Turn:
        self.timed = True
        return super().turn()

    def queries(self, several: int) -> dict[str, float]:
        keys = ("one_new_ms", "one_known_ms", "several_new_ms", "several_known_ms")
        return {**dict.fromkeys(keys, float(self.job.spec == "default" and not self.timed)), "several": several}


class Short(Steady):
    """A turn is a whole picture."""

    def turn(self) -> Turn:
        return Turn(0, 0.0, once=0.25)


class Refuses(Steady):
    def __init__(self, job: Job, reference: Reference) -> None:
        raise UnavailableError("asked for a made device; found none")


class LacksAPackage(Steady):
    def __init__(self, job: Job, reference: Reference) -> None:
        import package_that_nobody_has  # noqa: F401


class Dies(Steady):
    def turn(self) -> Turn:
        os._exit(3)


class Stumbles(Steady):
    def turn(self) -> Turn:
        raise ZeroDivisionError("by its own fault")


class NoCard:
    """What multiplies matrices, on a machine without a card."""

    def __init__(self, device: str) -> None:
        raise UnavailableError(f"PyTorch finds no {device} card")


class ACard:
    """The same, on a card that PyTorch alone sees."""

    def __init__(self, device: str) -> None:
        self.device = device

    def about(self) -> dict[str, object]:
        return {"torch": "2", "torch_card": "a made card", "memory_mib": 12000.0}
