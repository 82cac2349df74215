"""Turns in rounds: who comes when, what the budget cuts, what a failure costs; and that no wrong answer sees a clock."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.agreement import TOLERANCE
from bench.compare import card
from bench.compare import measure as measuring
from bench.compare.command import main, parse
from bench.compare.contenders import MAIN, NAMES, ON_CARD, ON_PROCESSOR, by_group, choose
from bench.compare.machine import best_rate, busy, processor_kinds
from bench.compare.measure import Effort, measure
from bench.compare.record import Row, rows_of
from bench.compare.rounds import Taken, take_turns
from bench.compare.task import Agreement, Turn, UnavailableError, compare_scores
from bench.compare.worker import Worker
from bench.terminal import step_lines
from tests.bench.made import REFERENCE, TASK, Oracle, Rates, Steady, contender


def silent(step: str) -> None: ...


def taken_by(names: str, rounds: int, budget: float = 1e9, bad: str = "") -> tuple[Taken, str]:
    order: list[str] = []

    def turn(name: str) -> Turn:
        order.append(name)
        if name == bad and order.count(name) > 1:
            raise UnavailableError("gone")
        return Turn(1, 1.0)

    turns = {name: (lambda name=name: turn(name)) for name in names}
    return take_turns(turns, rounds, budget, silent, lambda: order.append("|")), "".join(order)


def test_contenders_take_turns_there_and_back() -> None:
    taken, order = taken_by("abc", 3)
    assert order == "abc|cba|abc|"
    assert ({name: len(turns) for name, turns in taken.turns.items()}, taken.rounds) == ({"a": 3, "b": 3, "c": 3}, 3)


def test_a_spent_budget_still_gives_everybody_one_turn() -> None:
    assert taken_by("ab", 5, budget=0.0)[1] == "ab|"


def test_a_contender_that_fails_is_left_out_from_then_on() -> None:
    taken, order = taken_by("abc", 3, bad="b")
    assert order == "abc|cba|ac|"
    assert (taken.failures, taken.turns["b"]) == ({"b": "gone"}, [])


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    """One comparison of made contenders, each in a real process."""
    there = ("published", "wrong", "dying", "refusing", "lacking")
    made = [contender(name, "Steady" if name == "published" else name.capitalize()) for name in there]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "make_oracle", Oracle)
        patch.setattr(measuring, "MatrixRates", Rates)
        patch.setattr(measuring, "busy", lambda: 0.0)
        record = measure(TASK, Effort(rounds=2, whole=True, queries=0, starts=False), made, silent)
    return {row.name: row for row in rows_of(record)}


def test_what_disagrees_with_the_oracle_never_sees_a_clock(rows: dict[str, Row]) -> None:
    assert "disagrees with the oracle: scores are off by 0.5" in rows["wrong"].reason  # its turn would have ended its process
    assert rows["wrong"].turns == 0


def test_what_cannot_be_had_says_why_and_the_others_go_on(rows: dict[str, Row]) -> None:
    assert rows["refusing"].reason == "asked for a made device; found none"
    assert rows["lacking"].reason == "`package_that_nobody_has` is not installed"
    assert "its process ended" in rows["dying"].reason
    row = rows["published"]
    assert (row.turns, row.passes_per_s, row.seconds_per_picture) == (2, [10, 10, 10], [0.8, 0.8, 0.8])
    assert (row.gflops, row.share, row.whole) == (10, 0.5, {"seconds": 0.5, "passes": 8, "boxes": 1, "kept": 8})


def test_a_card_is_looked_at_before_and_after_each_contender_and_each_round(monkeypatch: pytest.MonkeyPatch) -> None:
    used = iter([100.0, 350.0, 360.0, 370.0])
    monkeypatch.setattr(measuring, "make_oracle", Oracle)
    monkeypatch.setattr(measuring, "MatrixRates", Rates)
    monkeypatch.setattr(measuring, "busy", lambda: 0.0)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(card, "read_state", lambda number: {"used_mib": next(used)})
    task = replace(TASK, device="cuda:1", batch=0)
    record = measure(task, Effort(rounds=2, queries=0, starts=False), [contender("steady")], silent)
    assert record["contenders"][0]["extra"]["device_mib"] == 250
    assert [state["used_mib"] for state in record["states"]] == [360, 370]
    assert record["card"]["name"] == "a made card"  # by PyTorch alone: there is no driver's tool here
    assert "nvidia-smi" in record["card"]["driver_tool"]
    assert record["task"]["batch"] == 128  # as its memory has room


def test_precision_decides_what_agrees() -> None:
    exact, half = choose("cpu", ["exact"])[0], choose("cpu", ["torch-bf16"])[0]
    near, far, lost = (Agreement(error, 10 * error, 0, 4) for error in (0.00009, 0.015, float("inf")))
    assert [bool(exact.disagreement(each, True)) for each in (near, far, lost)] == [False, True, True]
    assert [bool(half.disagreement(each, True)) for each in (near, far, lost)] == [False, False, True]
    assert exact.disagreement(Agreement(0.0, 0.0, 0, 0, "no scores"), True) == ""


@pytest.mark.parametrize("precision", TOLERANCE)
@pytest.mark.parametrize("trained", [True, False])
def test_scores_of_zero_and_constant_ones_agree_with_nothing(precision: str, trained: bool) -> None:
    wanted = np.random.default_rng(0).normal(0.002, 0.013, 16).astype(np.float32)  # as RN50's under random weights
    contender = replace(choose("cpu", ["exact"])[0], precision=precision)
    assert contender.disagreement(compare_scores(wanted, wanted), trained) == ""
    for found in (np.zeros(16), np.full(16, 0.01), np.full(16, np.nan), 100 * wanted):
        assert contender.disagreement(compare_scores(found, wanted), trained), found
    noise = np.random.default_rng(1).normal(0, 0.013, 16)  # of the right size, and nothing more
    assert bool(contender.disagreement(compare_scores(noise, wanted), trained)) is (trained or precision == "fp32")


def test_single_precision_that_was_rounded_is_told() -> None:
    exact = choose("cuda", ["exact-cuda-fp32"])[0]
    wanted = np.random.default_rng(0).normal(0, 0.1, 16)
    assert exact.disagreement(compare_scores(wanted + 5e-5, wanted), True) == ""
    assert "was TF32 taken?" in exact.disagreement(compare_scores(wanted + 2e-4, wanted), True)


def test_a_worker_is_a_process_of_its_own_and_is_not_waited_for_longer_than_asked() -> None:
    with Worker(Steady, (TASK, REFERENCE), 1) as worker:
        assert worker.ask("pid") not in (os.getpid(), os.getppid())
        assert 1 < worker.ask("peak_mib") < 4096
        with pytest.raises(UnavailableError, match="no attribute 'juggle'"):
            worker.ask("juggle")
        began = time.monotonic()
        with pytest.raises(UnavailableError, match="no answer in 0 s"):
            worker.ask("nap", patience=0.2)
    assert time.monotonic() - began < 30


def test_contenders_are_chosen_by_device_and_name_in_their_order() -> None:
    assert [each.name for each in choose("cpu", ["exact", "published"])] == ["published", "exact"]
    assert choose("cpu") == list(ON_PROCESSOR)
    assert choose("cuda:1") == list(ON_CARD)
    assert {each.options.get("device") for each in choose("tensorrt")} == {None, "tensorrt"}
    assert [len({each.group for each in group}) for group in by_group(choose("cuda"))] == [1, 1, 1]
    assert {each.precision for each in (*ON_PROCESSOR, *ON_CARD)} <= set(TOLERANCE)
    assert set(MAIN) <= set(NAMES)
    with pytest.raises(ValueError, match="`exact` is not one on device `cuda`"):
        choose("cuda", ["exact"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--contenders", "exact,fastest"], "contender `fastest` is unknown"),
        (["--rounds", "0"], "not a whole number above 0"),
        (["--device", "cuda:x"], "`cuda:x` is none of cpu, cuda"),
    ],
)
def test_bad_options_are_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)
    assert words in capsys.readouterr().err


def test_a_missing_record_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["--readme", "none.json"])
    assert capsys.readouterr().err.startswith("error: record `none.json` does not exist")


def test_off_a_terminal_every_step_is_a_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    with step_lines() as say:
        say("one")
        assert capsys.readouterr().err == "one\n"  # at once, not at the end
    assert not sys.stderr.isatty()


def test_no_matrix_is_multiplied_that_would_take_longer_than_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """A made processor of 2 GFLOP/s: 1024 takes a second, 2048 would take eight."""
    now, sizes = [0.0], []

    def product(size: int) -> Any:
        sizes.append(size)
        return lambda: now.__setitem__(0, now[0] + 1e-9 * size**3)

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    assert best_rate(product, lambda: None, (256, 512, 999, 2048)) == pytest.approx(2.0)
    assert sizes == [256, 512, 999]


def test_only_precisions_that_the_processor_has_are_measured() -> None:
    assert processor_kinds({"avx2": True, "avx512_bf16": False}) == ("fp32",)
    assert processor_kinds({"amx_bf16": True}) == ("fp32", "bf16")


def test_what_our_own_threads_do_at_their_end_is_not_other_work(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's clock, made: one core works for the first tenth of a second, then nothing does."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        worked, ticks = round(100 * min(now[0], 0.1)), round(200 * now[0])
        (tmp_path / "proc" / "stat").write_text(f"cpu  {worked} 0 0 {ticks - worked} 0 0 0 0\n")

    (tmp_path / "proc").mkdir()
    monkeypatch.setattr(time, "sleep", sleep)
    sleep(0.0)
    assert busy(tmp_path) == 0.0
