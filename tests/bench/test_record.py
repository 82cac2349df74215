"""From measured turns to a record, and from the record to the documents: whole and unedited."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.compare import card
from bench.compare.command import default_file, make_task, parse
from bench.compare.contenders import choose
from bench.compare.record import Record, Row, read_record, rows_of
from bench.compare.report import MARKERS, markdown, with_table, write_table
from bench.compare.targets import verdicts
from bench.compare.task import Agreement, Facts, Turn, UnavailableError, WholePicture
from tests.bench.made import REFERENCE
from tests.configs import ROOT

RECORDS = ROOT / "bench" / "results"
BEGIN, END = MARKERS[False]
(EXACT,) = choose("cpu", ["exact"])


def begun(needed: int = 8) -> Row:
    return Row.begin(EXACT, Facts(needed, "made", {}), Agreement(0.0, 0.0, 0, 4))


def test_seconds_follow_from_the_rate_and_what_a_picture_needs() -> None:
    row = begun()
    row.add_turns([Turn(4, 2.0, once=1.0), Turn(4, 2.0, once=1.0)])
    row.add_rate(REFERENCE, {"fp32": 8.0})
    assert (row.passes_per_s, row.seconds_per_picture) == ([2, 2, 2], [5, 5, 5])
    assert (row.derived, row.gflops, row.share) == (True, 2, 0.25)


def test_whole_pictures_need_no_reckoning() -> None:
    row = begun()
    row.add_turns([Turn(16, 3.0, pictures=2)])
    assert (row.seconds_per_picture, row.derived, row.peak_whole) == ([1.5, 1.5, 1.5], False, True)
    short = begun(needed=0)
    short.add_turns([Turn(2, 1.0, pictures=2)])
    assert (short.passes_per_s, short.seconds_per_picture) == (None, [0.5, 0.5, 0.5])


def test_whole_pictures_are_held_against_the_published_answer() -> None:
    grid = np.array([[0.0, 1.0]])
    theirs = WholePicture(2.0, 3, np.array([[0, 0, 2, 2]]), grid, np.array([0.1, -0.2, 0.3]))
    mine = WholePicture(1.0, 2, np.array([[0, 0, 2, 1]]), grid / 2, np.array([0.1, 0.1, 0.3]))
    row = begun()
    row.add_whole(mine, theirs, np.array([True, True, True]))
    assert row.whole == {
        "seconds": 1,
        "passes": 2,
        "boxes": 1,
        "kept": 3,
        "box_agreement": 0.5,
        "flips": 1,
        "max_score_difference": pytest.approx(0.3),
        "max_saliency_difference": 0.5,
    }
    assert rows_of({"contenders": [json.loads(json.dumps(row.to_dict()))]}) == [row]
    row.add_whole(mine, theirs, np.array([True, False, True]))
    assert row.whole is not None
    assert (row.whole["flips"], row.whole["kept"]) == (0, 2)  # a constant map may fall on either side


@pytest.fixture
def record() -> Record:
    """The shipped record of RN50."""
    return read_record(RECORDS / "compare-rn50.json")


def test_the_documents_are_what_their_record_says(record: Record) -> None:
    pages = [page for page in (ROOT / "README.md", *ROOT.glob("docs/**/*.md")) if BEGIN in page.read_text(encoding="utf-8")]
    assert len(pages) == 1
    text = pages[0].read_text(encoding="utf-8")
    assert with_table(text, record) == text, (
        "write the table again: `python -m bench.compare --readme bench/results/compare-rn50.json`"
    )


@pytest.mark.parametrize("name", ["compare-rn50-all-ways", "queries-rn50"])
def test_older_records_can_be_read(name: str) -> None:
    record = read_record(RECORDS / f"{name}.json")
    assert all(row.turns for row in rows_of(record))
    record["machine"]["busy"] = 0.0
    assert "A further query on an encoded picture" in markdown(record)


def test_rows_say_what_was_measured_and_what_was_reckoned(record: Record) -> None:
    published, exact = record["contenders"][0], next(row for row in record["contenders"] if row["name"] == "exact")
    published.update(whole={"seconds": 90.0, "passes": 8, "boxes": 1}, passes_per_s=[10, 9, 11], peak_mib=100.0, peak_whole=True)
    exact.update(seconds_per_picture=[30.0, 30.0, 30.0], passes_per_s=[10, 9, 11], peak_mib=100.0, whole=None, peak_whole=False)
    record["contenders"][2:] = [{**Row.refuse(choose("cpu", ["int8"])[0], "no bundle").to_dict()}, exact]
    lines = markdown(record).splitlines()
    assert "| the published way: PyTorch, eager | every map | 10 | 90 | 1 x | 100 MiB |" in lines
    assert "| **vlscore `exact`, ONNX Runtime** | every map | 10 | **~30** | 3 x | ≥ 100 MiB |" in lines
    assert "Not run: vlscore `exact`, int8 bundle, ONNX Runtime (no bundle)." in lines


def test_the_table_replaces_what_is_between_the_markers(record: Record, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text("no table here", encoding="utf-8")
    page = tmp_path / "docs" / "speed.md"
    page.write_text(f"before\n{BEGIN}\nstale\n{END}\nafter\n", encoding="utf-8")
    assert write_table(tmp_path, record) == page
    once = page.read_text(encoding="utf-8")
    assert once.startswith(f"before\n{BEGIN}\nRN50, ")
    assert once.endswith(f"\n{END}\nafter\n")
    assert "stale" not in once
    assert with_table(once, record) == once
    page.unlink()
    with pytest.raises(ValueError, match="found it on 0"):
        write_table(tmp_path, record)


@pytest.mark.parametrize("text", ["", BEGIN, f"{END} {BEGIN}", f"{BEGIN} {END} {BEGIN} {END}"])
def test_a_page_without_its_markers_is_refused(record: Record, text: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        with_table(text, record)


def test_a_busy_machine_makes_no_table(record: Record) -> None:
    record["machine"]["busy"] = 0.4
    with pytest.raises(ValueError, match="other work took 40%"):
        with_table(f"{BEGIN}{END}", record)


def card_record(exact_ms: float, rival_ms: float, fast_ms: float, share: float) -> Record:
    """A hand-made record of a card."""
    milliseconds = {"torch": 1000.0, "compile-fp16": rival_ms, "exact-cuda-fp16": 2 * exact_ms, "exact-tensorrt-fp16": exact_ms,
                    "fast-cuda-fp16": fast_ms}  # fmt: skip
    rows = []
    for contender in choose("cuda", list(milliseconds)):
        row, seconds = Row.refuse(contender, ""), milliseconds[contender.name] / 1000
        row.seconds_per_picture, row.derived = [seconds] * 3, False
        rows.append(row)
        if contender.name == "exact-tensorrt-fp16":
            row.share, row.extra = share, {"device_mib": 2000.0}
    base = read_record(RECORDS / "compare-rn50.json")
    seen = {"name": "NVIDIA H100 80GB HBM3", "driver": "580", "cuda": "13.0"}
    task = {**base["task"], "device": "cuda", "passes": 0}
    return {**base, "task": task, "card": seen, "contenders": [row.to_dict() for row in rows]}


@pytest.mark.parametrize(("figures", "expected"), [((80.0, 120.0, 12.0, 0.5), "met"), ((80.1, 120.0, 12.1, 0.49), "missed")])
def test_targets_are_judged_by_the_best_contender(figures: tuple[float, float, float, float], expected: str) -> None:
    told = verdicts(card_record(*figures))
    assert len(told) == 4
    assert all(f": {expected}, found " in line for line in told)
    assert told[0].endswith("(exact-tensorrt-fp16)")


def test_a_target_without_its_contenders_is_not_measured_and_a_processor_has_none(record: Record) -> None:
    made = card_record(50.0, 120.0, 5.0, 0.6)
    made["contenders"] = [row for row in made["contenders"] if row["name"] != "compile-fp16"]
    assert ["not measured" in line for line in verdicts(made)] == [False, True, False, False]
    assert verdicts(record) == []


def test_a_cards_table_has_its_memory_and_its_targets() -> None:
    made = card_record(50.0, 120.0, 5.0, 0.6)
    text = markdown(made)
    assert "| **vlscore `exact`, TensorRT, fp16** | every map |  | **0.05** | 20 x |  | 2000 MiB |" in text
    assert "Target exact RN50, fp16, ms per picture, 80: met, found 50 (exact-tensorrt-fp16)." in text
    assert "NVIDIA H100 80GB HBM3, driver 580, CUDA 13.0" in text
    assert default_file(made) == RECORDS / "compare-nvidia-h100-80gb-hbm3.json"
    assert default_file(read_record(RECORDS / "compare-rn50.json")) is None


DRIVER = """<?xml version="1.0" ?>
<nvidia_smi_log>
  <driver_version>580.1</driver_version><cuda_version>13.0</cuda_version>
  <gpu id="0">
    <product_name>NVIDIA H100</product_name>
    <fb_memory_usage><total>81559 MiB</total><used>300 MiB</used></fb_memory_usage>
    <mig_mode><current_mig>N/A</current_mig></mig_mode>
    <clocks><sm_clock>1980 MHz</sm_clock></clocks>
    <clocks_event_reasons>
      <clocks_event_reason_sw_power_cap>Active</clocks_event_reason_sw_power_cap>
      <clocks_event_reason_gpu_idle>Not Active</clocks_event_reason_gpu_idle>
    </clocks_event_reasons>
    <processes>
      <process_info><process_name>/home/me/bin/python</process_name><used_memory>12 MiB</used_memory></process_info>
    </processes>
  </gpu>
</nvidia_smi_log>"""


def test_the_card_is_read_from_what_its_driver_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(words: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        asked.append(words)
        return subprocess.CompletedProcess(words, 0, DRIVER, "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-abc")
    seen, state = card.read_card(1), card.read_state(0)
    assert [words[-1] for words in asked] == ["GPU-abc", "3"]
    assert (seen["name"], seen["memory_mib"], seen["mig"], seen["driver"]) == ("NVIDIA H100", 81559.0, None, "580.1")
    assert seen["others"] == ["python, 12 MiB"]  # without its folder
    assert (state["sm_mhz"], state["power_w"], state["held_back"]) == (1980.0, None, ["sw_power_cap"])


def test_no_driver_and_a_broken_one_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*words: object, **options: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", absent)
    with pytest.raises(UnavailableError, match="no NVIDIA driver"):
        card.read_card(0)
    assert card.read_state(0) == {}
    broken = subprocess.CompletedProcess([], 9, "", "driver/library version mismatch")
    monkeypatch.setattr(subprocess, "run", lambda *words, **options: broken)
    with pytest.raises(UnavailableError, match="mismatch"):
        card.read_card(0)


def test_a_tasks_bundles_lie_beside_each_other() -> None:
    assert make_task(parse(["--backbone", "RN50"])).bundle("int8") == "RN50-random-int8"
    assert make_task(parse(["--backbone", "demo-rn"])).bundle("fp32") == "demo-rn"
    assert make_task(parse(["--model", "folder/RN50"])).bundle("int8") == "folder/RN50-int8"
    on_card = replace(make_task(parse(["--device", "cuda"])), batch=card.fitting_batch(12000.0))
    assert (on_card.bundle("fp16"), on_card.passes) == ("RN50-random-b128-fp16", 0)
