"""The harness finds what it should find, and earlier finds and a few hundred new cases break no promise."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from tests.torture import broken, chaos, harness
from tests.torture.__main__ import SUBJECTS

NEW_CASES = {"pictures": 400, "scenes": 400, "bundles": 60, "words": 60, "arguments": 150, "commands": 20}


@pytest.mark.parametrize("subject", NEW_CASES)
def test_earlier_finds_and_some_new_cases(subject: str) -> None:
    numbers = itertools.chain(harness.kept(subject), range(NEW_CASES[subject]))
    tried, finds = harness.torture(subject, numbers, 60, lambda _: None)
    assert finds == []
    assert tried > len(harness.kept(subject))


@pytest.mark.parametrize("calamity", [calamity for calamity in chaos.OFTEN if calamity is not chaos.long_run])
def test_each_calamity(calamity: Callable[[random.Random], chaos.Case]) -> None:
    count = 1 if calamity in (chaos.interrupted, chaos.many_threads, chaos.short_run) else 5
    numbers = [number for number in range(100) if random.Random(number).choice(chaos.CALAMITIES) is calamity][:count]
    tried, finds = harness.torture("chaos", numbers, 120, lambda _: None)
    assert finds == []
    assert tried == count


def test_every_subject_is_tried_here() -> None:
    assert {*NEW_CASES, "chaos"} == {*SUBJECTS}


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (broken.refuse, None),
        (broken.fail, "raises KeyError"),
        (broken.talk, "prints 6 bytes: hello"),
        (broken.babble, "says too much"),
        (broken.eat, "raises MemoryError"),
        (broken.crash, "ends the process with status -11"),
        (broken.leave, "raises SystemExit"),
        (broken.hang, "takes more than 0.5 s"),
    ],
)
def test_every_broken_promise_is_told(action: Callable[[], None], words: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if action is broken.hang:
        monkeypatch.setattr(harness, "LATE", 0.5)
    numbers = [number for number in range(1000) if random.Random(number).choice(broken.ACTIONS) is action][:2]
    tried, finds = harness.torture("broken", numbers, 120, lambda _: None)
    assert tried == 2
    assert len(finds) == (0 if words is None else 2)
    assert all(str(words) in find for find in finds)
