"""Made for the tests: contenders that answer at once (their processes import this module), and a scored picture."""

from __future__ import annotations

import os

import numpy as np

from bench.accuracy.scored import ScoredPicture, Truth
from bench.compare.contenders import Contender
from bench.compare.task import Agreement, Facts, Reference, Task, Turn, UnavailableError, WholePicture
from engine.frame import Frame

TASK = Task("cpu", "none", "none", None, "cat.jpg", "a cat", "paper", 1, 4, 8)
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


def contender(name: str, kind: str = "Steady") -> Contender:
    return Contender(name, f"the {name} one", "every map", f"tests.bench.made:{kind}")


class Oracle:
    def __init__(self, task: Task) -> None: ...

    def reference(self) -> Reference:
        return REFERENCE


class Rates:
    def __init__(self, task: Task) -> None: ...

    def rates(self) -> dict[str, float]:
        return {"fp32": 20.0}

    def about(self) -> dict[str, object]:
        return {"name": "a made card", "memory_mib": 12000.0}


class Steady:
    """Takes a tenth of a second for every pass, by its own account."""

    error = 0.0

    def __init__(self, task: Task, reference: Reference) -> None:
        self.task = task

    def facts(self) -> Facts:
        return Facts(8, "made", {"made": "1"})

    def check(self) -> Agreement:
        return Agreement(self.error, self.error, 0, 4)

    def turn(self) -> Turn:
        return Turn(self.task.passes, 0.1 * self.task.passes)

    def whole(self) -> WholePicture:
        return WholePicture(0.5, 8, np.array([[0.0, 0.0, 2.0, 2.0]]), np.ones((2, 2)), np.full(10, 0.1))

    def pid(self) -> int:
        return os.getpid()

    def nap(self) -> None:
        import time

        time.sleep(60)


class Wrong(Steady):
    """Computes something else, and would not survive a turn."""

    error = 0.5

    def turn(self) -> Turn:
        os._exit(3)


class Dying(Steady):
    def turn(self) -> Turn:
        os._exit(3)


class Refusing(Steady):
    def __init__(self, task: Task, reference: Reference) -> None:
        raise UnavailableError("asked for a made device; found none")


class Lacking(Steady):
    def __init__(self, task: Task, reference: Reference) -> None:
        import package_that_nobody_has  # noqa: F401


SIDE = 40
LEFT, RIGHT, NEITHER = 0, 1, 2


def truth(noun: int, x0: int, x1: int) -> Truth:
    """A noun that fills a band of the picture's columns."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[:, x0:x1] = True
    return Truth(noun, np.array([[x0, 0, x1, SIDE]], np.float64), mask)


def two_halves(picture: int = 0, *truths: Truth) -> ScoredPicture:
    """Noun LEFT is best explained by the map that is bright on the left, RIGHT by the other, NEITHER by none."""
    maps = np.array([[[1, 0], [1, 0]], [[0, 1], [0, 1]]], np.float32).reshape(2, 4)
    return ScoredPicture(
        picture=picture,
        frame=Frame.fit((SIDE, SIDE), SIDE, "squash"),
        maps=4 * maps,
        scaled=maps,
        scores=np.array([[0.3, 0.1], [0.1, 0.3], [-0.1, 0.0]], np.float32),
        similarity=np.array([0.5, 0.4, 0.1], np.float32),
        classes=np.array([0.5, 0.4, 0.45], np.float32),
        truths=truths or (truth(LEFT, 0, 20), truth(RIGHT, 20, 40)),
        absent=(NEITHER,),
        grid_hw=(2, 2),
    )
