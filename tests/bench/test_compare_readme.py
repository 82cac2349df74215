"""The speed table of docs/benchmarks.md comes from the record, whole and unedited."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from bench.compare.machine import busy, processor_time
from bench.compare.plot import draw
from bench.compare.readme import BEGIN, END, table, with_table, write_table
from bench.compare.rows import Row
from tests.configs import ROOT

RECORD = ROOT / "bench" / "results" / "compare-rn50.json"


def row(name: str, seconds: float, **more: Any) -> dict[str, Any]:
    rates = [10.0, 9.0, 11.0]
    made = Row(name, f"the {name} way", "every map", "fp32", name == "exact", needed=8, peak_mib=100.0, passes_per_s=rates)
    made.seconds_per_picture = [seconds, seconds, seconds]
    return {**made.to_dict(), **more}


@pytest.fixture
def record() -> dict[str, Any]:
    names = ("processor", "system", "python", "date", "commit")
    return {
        "schema": 1,
        "machine": {**dict.fromkeys(names, "x"), "flags": ["avx2"], "threads": 2, "cores": 2, "memory_gib": 4, "busy": 0.0},
        "job": {
            **dict.fromkeys(("backbone", "pretrained", "picture", "query", "spec"), "x"),
            "threads": 2,
            "batch": 32,
            "passes": 64,
            "rounds": 5,
            "maps": 10,
            "live_maps": 8,
            "gflop_per_pass": 1.0,
        },
        "matrix_best_gflops": {"fp32": 20.0},
        "ways": [
            row("published", 100.0, whole={"seconds": 90.0, "passes": 8, "boxes": 1}, peak_whole=True),
            row("exact", 30.0),
            {**Row("int8", "the int8 way", "every map", "int8", True, "no bundle").to_dict()},
        ],
        "queries": {
            "exact": {
                "several": 1000.0,
                "one_known_ms": 2.0,
                "one_new_ms": 9.0,
                "several_known_ms": 1500.0,
                "several_new_ms": 6000.0,
            }
        },
        "cold": {"vlscore": {"import_s": 0.1, "open_s": 0.3, "load_s": 0.1}, "torch": {"import_s": 3.0, "load_s": 3.0}},
    }


def test_rows_say_what_was_measured_and_what_was_reckoned(record: dict[str, Any]) -> None:
    lines = table(record).splitlines()
    assert "| the published way | every map | 10 | 90 | 1 x | 100 MiB |" in lines
    assert "| **the exact way** | every map | 10 | **~30** | 3 x | ≥ 100 MiB |" in lines
    assert "Not run: the int8 way (no bundle)." in lines
    asked = "A further query on an encoded picture, boxes included: 2 ms in known words, 9 ms in new ones; "
    assert f"{asked}1000 of them: 1.5 s and 6 s." in lines
    assert "From a fresh interpreter to a loaded model: 0.5 s (PyTorch with open_clip: 6 s)." in lines


def test_the_table_replaces_what_is_between_the_markers(record: dict[str, Any], tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    write_table(readme, record)
    once = readme.read_text(encoding="utf-8")
    assert once.startswith(f"before\n{BEGIN}\n")
    assert once.endswith(f"\n{END}\nafter\n")
    assert "stale" not in once
    assert with_table(once, record) == once


@pytest.mark.parametrize("text", ["", BEGIN, f"{END} {BEGIN}", f"{BEGIN} {END} {BEGIN} {END}"])
def test_a_readme_without_its_markers_is_refused(record: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        with_table(text, record)


def test_a_busy_machine_makes_no_table(record: dict[str, Any]) -> None:
    record["machine"]["busy"] = 0.4
    with pytest.raises(ValueError, match="other work took 40%"):
        with_table(f"{BEGIN}{END}", record)


def test_other_work_is_read_from_the_system(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    assert processor_time(tmp_path) is None
    assert busy(tmp_path, 0.0) == 0
    (tmp_path / "proc" / "stat").write_text("cpu  10 5 5 60 10 0 0 10 3 0\ncpu0 1 1\n")
    assert processor_time(tmp_path) == (30, 100)


def test_what_our_own_threads_do_at_their_end_is_not_other_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's clock, made: one core works for the first tenth of a second, then nothing does."""
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        ticks = round(100 * min(now[0], 0.1)), round(200 * now[0])
        (tmp_path / "proc" / "stat").write_text(f"cpu  {ticks[0]} 0 0 {ticks[1] - ticks[0]} 0 0 0 0\n")

    (tmp_path / "proc").mkdir()
    monkeypatch.setattr(time, "sleep", sleep)
    sleep(0.0)
    assert busy(tmp_path) == 0.0


def test_bars_are_drawn(record: dict[str, Any], tmp_path: Path) -> None:
    assert draw(record, tmp_path / "bars.png").stat().st_size > 1000


def test_the_table_is_what_its_record_says() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    if RECORD.is_file():
        assert with_table(text, json.loads(RECORD.read_text(encoding="utf-8"))) == text, (
            f"write the table again: `python -m bench.compare --readme {RECORD.relative_to(ROOT)}`"
        )
