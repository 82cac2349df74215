"""A subject that breaks every promise, to try the harness itself."""

from __future__ import annotations

import ctypes
import random
import sys
import time
from collections.abc import Callable

REFUSALS = (ValueError,)


def refuse() -> None:
    raise ValueError("no")


def fail() -> None:
    raise KeyError("no")


def talk() -> None:
    print("hello")


def babble() -> None:
    raise ValueError("no\n" * 9)


def eat() -> None:
    bytearray(1 << 34)


def crash() -> None:
    ctypes.string_at(0)


def leave() -> None:
    sys.exit(3)


def hang() -> None:
    time.sleep(60)


ACTIONS = (refuse, fail, talk, babble, eat, crash, leave, hang)


def case(rng: random.Random) -> Callable[[], None]:
    """One of the ways."""
    return rng.choice(ACTIONS)
