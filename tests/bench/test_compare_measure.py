"""One comparison of made-up ways, each in a real process: set-up, refusals, deaths, records."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from bench.compare import measure as measuring
from bench.compare.job import UnavailableError
from bench.compare.measure import measure
from bench.compare.options import Options
from bench.compare.report import show
from bench.compare.rows import Row
from bench.compare.ways import Way
from bench.compare.workers import Worker
from tests.bench.compare_made import HERE, JOB, REFERENCE, Steady


def made(name: str, kind: str = "Steady", **options: float) -> Way:
    return Way(name, f"the {name} way", "every map", f"{HERE}:{kind}", options=dict(options))


WAYS = (
    made("published"),
    made("exact", "Asked"),
    made("exact-bf16"),
    made("refused", "Refuses"),
    made("lacking", "LacksAPackage"),
    made("wrong", error=0.5),
    made("dying", "Dies"),
    made("stumbling", "Stumbles"),
    replace(made("short", "Short", needed=0), ours=True),
)


class Rates:
    def rates(self) -> dict[str, float]:
        return {"fp32": 20.0, "bf16": 40.0}


def rates(job: object) -> Rates:
    return Rates()


@pytest.fixture(scope="module")
def record() -> Iterator[dict[str, Any]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "find_reference", lambda job: REFERENCE)
        patch.setattr(measuring, "Matrices", rates)
        patch.setattr(measuring, "busy", lambda: 0.5)
        yield measure(Options(rounds=2, whole=True, cold=False), JOB, WAYS, lambda text: None)


def test_every_way_has_a_row(record: dict[str, Any]) -> None:
    rows = {row.name: row for row in (Row.from_dict(values) for values in record["ways"])}
    assert list(rows) == [way.name for way in WAYS]
    assert rows["refused"].reason == "asked for a made device; found none"
    assert rows["lacking"].reason == "`package_that_nobody_has` is not installed"
    assert "disagree with the oracle's by 0.5" in rows["wrong"].reason
    assert "exit code 3" in rows["dying"].reason
    assert rows["stumbling"].reason == "ZeroDivisionError: by its own fault"
    published, short = rows["published"], rows["short"]
    assert (published.reason, short.reason) == ("", "")
    assert (published.turns, published.passes_per_s, published.seconds_per_picture) == (2, [10, 10, 10], [0.8, 0.8, 0.8])
    assert (published.gflops, published.share) == (10, 0.5)
    assert (published.peak_whole, published.derived, short.derived) == (True, True, False)
    assert published.whole is not None
    assert short.whole is not None
    assert short.whole["flips"] == 0
    assert published.peak_mib
    assert published.peak_mib > 10


def test_asking_again_is_timed_with_the_default_switches_in_a_process_of_its_own(record: dict[str, Any]) -> None:
    assert list(record["queries"]) == ["exact"]  # the other one cannot be asked, which is told and does no harm
    assert set(record["queries"]["exact"].values()) == {1.0, 1000.0}


def test_the_record_is_plain_and_names_no_folders(record: dict[str, Any]) -> None:
    text = json.dumps(record)
    assert os.getcwd() not in text
    assert record["job"]["live_maps"] == 8
    assert record["matrix_best_gflops"] == {"fp32": 20, "bf16": 40}
    assert {"processor", "threads", "date", "commit", "flags"} <= set(record["machine"])


def test_what_is_shown(record: dict[str, Any]) -> None:
    console = Console(record=True, width=140, quiet=False, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    show(console, record)
    shown = console.export_text()
    for words in (
        "the lacking way: not run: `package_that_nobody_has` is not installed",
        "one whole picture each",
        "20 fp32",
        "other work took 50%",
    ):
        assert words in shown


def test_a_worker_is_a_process_of_its_own() -> None:
    worker = Worker(Steady, (JOB, REFERENCE), 1)
    try:
        worker.ready()
        assert worker.ask("pid") not in (os.getpid(), os.getppid())
        assert worker.ask("turn").passes == JOB.passes
        with pytest.raises(UnavailableError, match="no attribute 'nap'"):
            worker.ask("nap")
        assert 1 < worker.peak_mib() < 4096
    finally:
        worker.close()
    assert not worker.process.is_alive()
