"""Whole runs: on the processor with a tiny model, with made-up ways, and on a machine without a card."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.compare.job import UnavailableError
from bench.compare.ways import Way
from bench.gpu import card, measure
from bench.gpu import ways as all_ways
from bench.gpu.command import main
from bench.gpu.options import Options
from bench.gpu.report import BEGIN, END, show, with_table
from bench.gpu.run import Run
from bench.gpu.targets import verdicts
from bench.gpu.timed import Schedule
from bench.gpu.ways import Group
from tests.bench.compare_made import HERE, JOB, REFERENCE, ACard, NoCard
from tests.configs import ROOT

KEYS = {
    "schema", "kind", "machine", "card", "versions", "job", "bundles", "parts", "seconds", "matrix_gflops", "matrix_best_gflops",
    "states", "ways", "queries", "faithful", "cold", "targets",
}  # fmt: skip


def silent(doing: str) -> None:
    """Tell nobody."""


def made(name: str, kind: str = "Steady", **options: Any) -> Way:
    return Way(name, f"the {name} way", "every map", f"{HERE}:{kind}", options=options)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up ways, reference and card; the processes are real."""
    ways = (made("exact-cuda-fp16"), made("wrong", error=0.5), made("lacking", "LacksAPackage"), made("dying", "Dies"))
    monkeypatch.setattr(measure, "chosen", lambda names, device: [Group("half", "made up", 0.5, ways)])
    monkeypatch.setattr(measure, "find_reference", lambda job, deadline: REFERENCE)
    monkeypatch.setattr(measure, "look", lambda run, deadline: {"name": "a made card", "memory_mib": 80000.0})
    monkeypatch.setattr(card, "state", lambda number: {"used_mib": 100.0, "sm_mhz": 1980.0})


@pytest.mark.usefixtures("made_up")
def test_what_disagrees_never_sees_a_clock() -> None:
    options = Options(model="none", rounds=2, budget=60, faithful=0)
    record = measure.measure(options, 1, silent)
    rows = {row["name"]: row for row in record["ways"]}
    assert rows["exact-cuda-fp16"]["turns"] == 2
    assert rows["exact-cuda-fp16"]["passes_per_s"] == [10.0, 10.0, 10.0]
    assert rows["exact-cuda-fp16"]["extra"]["device_mib"] == 0
    assert "disagree with the oracle" in rows["wrong"]["reason"]
    assert "turns" not in rows["wrong"]
    assert "`package_that_nobody_has` is not installed" in rows["lacking"]["reason"]
    assert "its process ended" in rows["dying"]["reason"]
    assert record["job"]["batch"] == 256
    assert len(record["states"]) == 2
    assert record.keys() == KEYS
    assert json.loads(json.dumps(record)) == record


@pytest.mark.usefixtures("made_up")
def test_when_the_time_is_spent_the_rest_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    record = measure.measure(Options(model="none", budget=0.0, faithful=0), 1, silent)
    assert {part["state"] for part in record["parts"]} == {"skipped"}
    assert all(row["reason"] for row in record["ways"])


def test_without_a_card_every_part_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def ask(words: list[str]) -> str:
        raise UnavailableError("`nvidia-smi` was not found")

    monkeypatch.setattr(card, "ask", ask)
    monkeypatch.setattr(measure, "CardMatrices", NoCard)
    main(["--json", str(tmp_path / "record.json")])
    record = json.loads((tmp_path / "record.json").read_text())
    assert [part["state"] for part in record["parts"]] == ["failed", "skipped", "skipped"]
    assert all(row["reason"] == measure.NO_CARD for row in record["ways"])
    assert {target["verdict"] for target in record["targets"]} == {"not measured"}
    told = capsys.readouterr().out
    assert "`nvidia-smi` was not found; PyTorch: PyTorch finds no cuda card" in told
    assert "not measured" in told


def test_a_card_that_pytorch_alone_sees_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(words: list[str]) -> str:
        raise UnavailableError("`nvidia-smi` was not found")

    monkeypatch.setattr(card, "ask", ask)
    monkeypatch.setattr(measure, "CardMatrices", ACard)
    run = Run(Options(), 1, silent, Schedule(60.0))
    found = measure.look(run, time.monotonic() + 60)
    assert run.matrices is not None
    run.matrices.close()
    assert (found["name"], found["memory_mib"], found["driver_tool"]) == ("a made card", 12000.0, "`nvidia-smi` was not found")


@pytest.mark.usefixtures("tiny_fp16_bundle")
def test_the_whole_script_on_the_processor(tiny_bundle: Path, workshop: Path, tmp_path: Path) -> None:
    ways = "exact-cuda-fp32,exact-tensorrt-fp32,torch,instant-cuda-fp16"
    file = tmp_path / "record.json"
    words = ["--device", "cpu", "--backbone", str(workshop / "tiny-rn.json"), "--pretrained", "none", "--model", str(tiny_bundle)]
    main([*words, "--ways", ways, "--rounds", "1", "--faithful", "0", "--batch", "32", "--threads", "2", "--json", str(file)])
    record = json.loads(file.read_text())
    rows = {row["name"]: row for row in record["ways"]}
    for name in ("exact-cuda-fp32", "torch", "instant-cuda-fp16"):
        assert rows[name].get("reason", "") == ""
        assert rows[name]["seconds_per_picture"][0] > 0
        assert rows[name]["peak_mib"] > 0
    assert rows["exact-tensorrt-fp32"]["reason"]
    assert record["matrix_best_gflops"]["fp32"] > 0
    assert rows["exact-cuda-fp32"]["share"] > 0
    assert record["queries"]["exact-cuda-fp32"]["several"] == 100
    assert record["cold"]["exact-cuda-fp32"]["import_s"] > 0
    assert {part["state"] for part in record["parts"]} == {"done"}
    assert str(workshop) not in file.read_text()


def test_a_cuda_graph_needs_a_card() -> None:
    from bench.gpu.torch_ways import TorchOnDevice

    with pytest.raises(UnavailableError, match="need a CUDA card"):
        TorchOnDevice(JOB, REFERENCE, device="cpu", graph=True)


def record_of(exact_ms: float, rival_ms: float, fast_ms: float, share: float) -> dict[str, Any]:
    """A hand-made record of a card."""

    def row(name: str, milliseconds: float, **more: Any) -> dict[str, Any]:
        seconds = milliseconds / 1000
        kept = {
            "name": name,
            "title": name,
            "computes": "every map",
            "precision": "fp16",
            "ours": name != "compile-fp16",
            "derived": False,
        }
        return {**kept, "seconds_per_picture": [seconds, seconds * 0.9, seconds * 1.1], **more}

    ways = [
        row("exact-cuda-fp16", 2 * exact_ms, share=share / 2, passes_per_s=[10.0, 9.0, 11.0]),
        row("exact-tensorrt-fp16", exact_ms, share=share, passes_per_s=[20000.0, 19000.0, 21000.0], extra={"device_mib": 2000.0}),
        row("compile-fp16", rival_ms),
        row("fast-cuda-fp16", fast_ms),
        {**row("graph-fp16", 1.0), "reason": "it did not fit"},
    ]
    return {
        "job": {"device": "cuda", "backbone": "RN50", "batch": 256, "spec": "paper", "rounds": 5, "live_maps": 2048,
                "gflop_per_pass": 12.2},
        "machine": {"busy": 0.0, "processor": "x", "threads": 8, "date": "today", "commit": "abc"},
        "card": {"name": "a card", "driver": "580", "cuda": "13.0"},
        "versions": {"torch": "2"},
        "parts": [{"name": "cold", "state": "failed", "reason": "no time", "seconds": 1.0}],
        "bundles": {"fp16": "built", "int8-symmetric": "no such precision"},
        "matrix_best_gflops": {"fp16": 600000.0},
        "ways": ways,
        "queries": {"exact-cuda-fp16": {"one_known_ms": 1.0, "several_known_ms": 20.0, "several": 100.0}},
        "cold": {"exact-cuda-fp16": {"import_s": 0.3, "open_s": 0.5}, "exact-tensorrt-fp16": "it was given up"},
        "faithful": {
            "cuda": {"pictures": 4, "flips": 1, "compared": 2000, "largest_score_error": 1e-5, "mean_box_agreement": 0.999},
            "tensorrt": {"reason": "no engine"},
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ((80.0, 120.0, 12.0, 0.5), ["met", "met", "met", "met"]),
        ((80.1, 120.0, 12.1, 0.49), ["missed", "missed", "missed", "missed"]),
    ],
)
def test_targets_are_judged_by_the_best_way(figures: tuple[float, float, float, float], expected: list[str]) -> None:
    found = verdicts(record_of(*figures))
    assert [target["verdict"] for target in found] == expected
    assert found[0]["by"] == "exact-tensorrt-fp16"


def test_a_target_without_its_ways_is_not_measured() -> None:
    record = record_of(50.0, 120.0, 5.0, 0.6)
    record["ways"][2] = {**record["ways"][2], "reason": "torch.compile is not there"}
    found = verdicts(record)
    assert [target["verdict"] for target in found] == ["met", "not measured", "met", "met"]
    assert "torch.compile is not there" in found[1]["by"]
    for change in ({"device": "cpu"}, {"backbone": "demo-rn"}):
        other = {**record, "job": {**record["job"], **change}}
        assert {target["verdict"] for target in verdicts(other)} == {"not measured"}


def test_the_readmes_table_is_made_from_the_record() -> None:
    record = record_of(50.0, 120.0, 5.0, 0.6)
    record["targets"] = verdicts(record)
    text = with_table(f"before\n{BEGIN}\nstale\n{END}\nafter\n", record)
    assert "stale" not in text
    assert "| **exact-tensorrt-fp16** | 20000 | 50 ± 5 | 60% | 2000 |  |  |" in text
    assert "Target exact RN50, fp16, ms per picture, 80: met, found 50 (exact-tensorrt-fp16)" in text
    assert "Not timed: graph-fp16 (it did not fit)." in text
    assert "1 of 2000 maps change sides" in text
    assert with_table(text, record) == text
    console = Console(record=True, width=200)
    show(console, record)
    told = console.export_text()
    assert "cold failed: no time" in told
    assert "bundle in int8-symmetric: no such precision" in told


def test_what_makes_no_table_is_refused() -> None:
    record = record_of(50.0, 120.0, 5.0, 0.6)
    record["targets"] = []
    for change, told in (
        ({"machine": {**record["machine"], "busy": 0.5}}, "other work"),
        ({"job": {**record["job"], "device": "cpu"}}, "on a processor"),
        ({"ways": record["ways"][-1:]}, "no way that was timed"),
    ):
        with pytest.raises(ValueError, match=told):
            with_table(f"{BEGIN}{END}", {**record, **change})
    with pytest.raises(ValueError, match="once each"):
        with_table("", record)


def test_the_table_has_its_place() -> None:
    text = (ROOT / "docs" / "nvidia.md").read_text(encoding="utf-8")
    assert text.count(BEGIN) == text.count(END) == 1
    assert all_ways.NAMES
    assert replace(Options(), device="cpu").on_card is False
