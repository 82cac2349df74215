"""Fresh interpreters: both sides are timed, and one that fails says why."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.compare.cold import STEPS, cold
from bench.compare.job import Job
from tests.configs import PICTURES


def test_a_fresh_interpreter_opens_every_graph_and_a_failure_is_told(tiny_bundle: Path, workshop: Path) -> None:
    picture = str(PICTURES / "cat.jpg")
    job = Job(str(workshop / "tiny-rn.json"), "none", str(tiny_bundle), picture, "a cat", "paper", 2, 32, 64)
    said: list[str] = []
    found = cold(replace(job, backbone="no-such-backbone"), said.append, repeats=1)
    assert list(found) == ["vlscore"]
    assert list(found["vlscore"]) == list(STEPS)
    assert all(seconds > 0 for seconds in found["vlscore"].values())
    assert len(said) == 1
    assert said[0].startswith("fresh interpreters, torch: not run: ")
    assert "export.build --list" in said[0]
