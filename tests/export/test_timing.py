"""`--tune`: the masked graph at several batches, timed; the best is baked in and the devices' speeds are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from export import assemble, build, gate, timing
from export.options import BuildOptions
from export.timing import choose_batch, print_table, time_batches
from runtime import tuning
from runtime.bundles import open_bundle
from runtime.measurements import Timing, advice
from tests.conftest import ExportCache
from tests.export.test_gate import PERFECT


def timings(fp32: float, bf16: float) -> list[Timing]:
    return [Timing("openvino", "bf16", 2, bf16), Timing("openvino", "fp32", 2, fp32), Timing("cpu", "fp32", 2, fp32 / 2)]


@pytest.mark.parametrize(
    ("speeds", "best"), [({8: (10, 90), 16: (20, 10), 32: (15, 10)}, 16), ({8: (19.8, 1), 16: (20, 9), 32: (20.1, 9)}, 8)]
)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_smallest_of_the_best_in_float32(speeds: dict[int, tuple[float, float]], best: int, precision: str) -> None:
    assert choose_batch({size: timings(*pair) for size, pair in speeds.items()}, precision) == best


def test_batches_up_to_the_number_of_maps_are_timed(loaded_vit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def measure(graph: Path, passes: tuning.Passes, rounds: int) -> list[Timing]:
        assert graph.is_file()
        seen.append(passes.batch)
        return timings(1, 1)

    monkeypatch.setattr(timing, "measure", measure)
    monkeypatch.setattr(timing, "CANDIDATES", (16, 32, 64))
    steps: list[str] = []
    found = time_batches(loaded_vit, BuildOptions(), steps.append)
    assert seen == list(found) == [16, 32]  # there are 36 maps
    assert steps == ["timing batches of 16", "timing batches of 32"]


def test_a_tuned_build_takes_the_batch_and_keeps_the_speeds(
    workshop: Path, export_cache: ExportCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(assemble, "export_graph", export_cache)
    monkeypatch.setattr(gate, "comparisons", lambda *_: iter([(PERFECT, gate.TOLERANCES["fp32"])]))
    monkeypatch.setattr(timing, "time_batches", lambda *_: {16: timings(30, 50), 32: timings(20, 50)})
    monkeypatch.setattr(timing, "measure", lambda *_: timings(30, 50))
    target = tmp_path / "tuned"
    build.run(str(workshop / "tiny-vit.json"), "none", BuildOptions(tune=True), target, False)
    manifest = open_bundle(target).manifest
    assert manifest.batch == 16
    assert advice(manifest).reason == "measured here: openvino runs 30 passes/s in fp32"
    told = capsys.readouterr().err
    assert "16 (chosen)" in told
    build.run(str(workshop / "tiny-vit.json"), "none", BuildOptions(tune=True), target, False)
    assert "up to date" in capsys.readouterr().err


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table({8: timings(10, 90), 16: timings(20, 10)}, 16)
    told = " ".join(capsys.readouterr().err.split())
    assert "passes per second by batch" in told
