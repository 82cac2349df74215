"""The parts of the card's benchmark by themselves: the card's own words, deadlines, builds, ways."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import pytest

from bench.compare.job import UnavailableError
from bench.compare.ways import TOLERANCE
from bench.gpu import bundles, card
from bench.gpu.command import place
from bench.gpu.options import Options, parse
from bench.gpu.run import Run
from bench.gpu.timed import Schedule, TimedWorker
from bench.gpu.ways import GROUPS, NAMES, chosen
from tests.bench.compare_made import JOB, REFERENCE, Steady

LINE = "NVIDIA H100 80GB HBM3, 9.0, 580.1, 81559, 700.00, 1980, 2619, 5, Disabled"


class Slow(Steady):
    def turn(self) -> Any:
        time.sleep(60)


def test_the_card_is_read_from_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "ask", lambda words: LINE)
    found = card.query(card.FACTS, 0)
    assert (found["name"], found["memory_mib"], found["mig"]) == ("NVIDIA H100 80GB HBM3", 81559.0, "Disabled")


def test_a_field_that_the_driver_does_not_know_is_left_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(words: list[str]) -> str:
        if "clocks_event_reasons.active" in words[0]:
            raise UnavailableError("field is not valid")
        return "[N/A]" if "power.draw" in words[0] else "42"

    monkeypatch.setattr(card, "ask", ask)
    found = card.state(0)
    assert (found["throttled"], found["power_w"], found["used_mib"]) == (None, None, 42.0)


def test_renumbered_cards_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert card.identifier(1) == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-abc")
    assert (card.identifier(0), card.identifier(1), card.identifier(2)) == ("3", "GPU-abc", "2")


def test_other_work_on_the_card_is_told_without_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "ask", lambda words: "12, /home/me/bin/python, 300 MiB\n")
    assert card.others(0) == ["python, 300 MiB"]


def test_no_driver_and_a_broken_one_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*words: object, **options: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", absent)
    with pytest.raises(UnavailableError, match="no NVIDIA driver"):
        card.describe(0)
    assert card.state(0) == {}
    broken = subprocess.CompletedProcess([], 9, "", "driver/library version mismatch")
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: broken)
    with pytest.raises(UnavailableError, match="mismatch"):
        card.describe(0)


def test_parts_share_the_time_and_none_is_fatal() -> None:
    schedule = Schedule(100.0)
    left: list[float] = []
    assert schedule.attempt("one", 0.1, lambda deadline: left.append(deadline - schedule.began) or 7) == 7
    assert schedule.attempt("two", 0.1, lambda deadline: 1 / 0) is None
    schedule.attempt("three", 0.1, lambda deadline: left.append(deadline - schedule.began))
    assert left == pytest.approx([10.0, 30.0])  # what was left over goes on
    schedule.began -= 1000
    assert schedule.attempt("late", 0.1, lambda deadline: pytest.fail("there was no time")) is None
    assert [(part.name, part.state) for part in schedule.parts] == [
        ("one", "done"),
        ("two", "failed"),
        ("three", "done"),
        ("late", "skipped"),
    ]
    assert "ZeroDivisionError" in schedule.parts[1].reason


def test_a_worker_is_not_waited_for_longer_than_there_is_time() -> None:
    worker = TimedWorker(Slow, (JOB, REFERENCE), 1, time.monotonic() + 60)
    worker.ready()
    worker.deadline = time.monotonic() + 0.2
    with pytest.raises(UnavailableError, match="given up"):
        worker.ask("turn")
    worker.close()
    assert not worker.process.is_alive()


def test_bundles_have_the_batch_that_the_card_has_room_for() -> None:
    assert [bundles.batch_for(memory) for memory in (81559.0, 12000.0, 6000.0, None)] == [256, 128, 64, 32]
    words = bundles.command(Options(backbone="RN50"), 256, "RN50-b256", "fp16")
    assert words[words.index("--out") + 1] == "RN50-b256-fp16"
    assert words[words.index("--batch") + 1] == "256"


def test_a_build_that_fails_or_lingers_says_so() -> None:
    def start(code: str) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    assert bundles.outcome(start("print('fine')"), time.monotonic() + 30) == "built"
    assert bundles.outcome(start("print('error: no weights'); exit(1)"), time.monotonic() + 30) == "error: no weights"
    assert "not finished" in bundles.outcome(start("import time; time.sleep(60)"), time.monotonic())


def test_every_way_has_a_tolerance_and_a_place() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for group in GROUPS:
        for way in group.ways:
            assert way.precision in TOLERANCE
            assert way.options["device"] in ("{device}", "tensorrt")


def test_ways_go_to_the_card_that_was_asked_for() -> None:
    (group,) = chosen(["exact-cuda-fp16", "exact-tensorrt-fp16"], "cuda:1")
    assert [way.options["device"] for way in group.ways] == ["cuda:1", "tensorrt:1"]
    (group,) = chosen(["exact-cuda-fp16"], "cpu")
    assert (group.ways[0].options["device"], group.ways[0].title) == ("cpu", "vlscore `exact`, CPU, fp16")
    with pytest.raises(SystemExit):
        parse(["--ways", "unheard-of"])


def test_the_best_and_the_spread_of_the_matrix_rates() -> None:
    run = Run(Options(), 1, print, Schedule(1.0), rates=[{"fp16": 10.0}, {"fp16": 30.0, "fp32": 1.0}, {"fp16": 20.0}])
    assert run.best() == {"fp16": 30.0, "fp32": 1.0}
    assert run.spread()["fp16"] == [20.0, 15.0, 25.0]


def test_records_are_named_by_their_card() -> None:
    timed = {"card": {"name": "NVIDIA H100 80GB HBM3"}, "ways": [{"name": "one"}]}
    file = place(Options(), timed)
    assert file is not None
    assert file.name == "gpu-nvidia-h100-80gb-hbm3.json"
    assert place(Options(device="cpu"), timed) is None
    assert place(Options(), {**timed, "ways": [{"name": "one", "reason": "no card"}]}) is None


def test_a_device_without_a_number_is_refused() -> None:
    assert (card.number_of("cuda"), card.number_of("cuda:2")) == (0, 2)
    with pytest.raises(ValueError, match="card's number"):
        card.number_of("cuda:x")
