"""Measurements: kept for this machine and this bundle, followed by `auto`, ignored with a reason anywhere else."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine.manifest import Manifest
from runtime import DeviceError, Localizer, measurements, tuning
from runtime.bundles import open_bundle
from runtime.cli.app import app
from runtime.measurements import Timing, advice, file_of, keep, this_machine
from runtime.tuning import Passes, Setting, measure, settings

SLOW, FAST, ROUGH = Timing("cpu", "fp32", 2, 10.0), Timing("openvino", "fp32", 1, 20.0), Timing("openvino", "bf16", 2, 90.0)


@pytest.fixture
def manifest(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    """A bundle that was not measured yet."""
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path))
    return open_bundle(tiny_bundle).manifest


def test_nothing_measured_is_said(manifest: Manifest) -> None:
    found = advice(manifest)
    assert (found.device, found.threads) == (None, None)
    assert found.reason == "not measured on this machine; `vlscore tune` does"


def test_the_fastest_in_the_bundles_own_precision(manifest: Manifest) -> None:
    keep(manifest, [ROUGH, FAST, SLOW])
    found = advice(manifest)
    assert (found.device, found.threads) == ("openvino", 1)
    assert found.reason == "measured here: openvino runs 20 passes/s in fp32"
    assert advice(manifest, "bf16").threads == 2


def test_auto_follows_and_numbers_stay_float32(manifest: Manifest, tiny_bundle: Path) -> None:
    assert Localizer(tiny_bundle).device == "cpu"
    keep(manifest, [ROUGH, FAST, SLOW])
    localizer = Localizer(tiny_bundle)
    assert (localizer.device, localizer.precision) == ("openvino", "fp32")
    assert localizer.info["backend"].split(", ")[1] == "1 thread"
    assert localizer.info["chosen"] == advice(manifest).reason
    assert Localizer(tiny_bundle, threads=2).info["backend"].split(", ")[1] == "2 threads"
    assert Localizer(tiny_bundle, device="cpu").info["chosen"] == "asked for"
    keep(manifest, [dataclasses.replace(FAST, device="cuda"), SLOW])
    assert Localizer(tiny_bundle).device == "cpu"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"processor": "Slow 1"}, "processor was Slow 1, is "),
        ({"threads": 64}, "threads was 64, is 2"),
        ({"openvino": ""}, "openvino was not there, is 20"),
    ],
)
def test_another_machine_is_ignored_with_the_reason(manifest: Manifest, change: dict[str, object], reason: str) -> None:
    path = keep(manifest, [FAST])
    content = json.loads(path.read_text())
    content["machine"].update(change)
    path.write_text(json.dumps(content))
    found = advice(manifest)
    assert found.device is None
    assert f"measured elsewhere, so ignored ({reason}" in found.reason


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 2}', '{"schema": 1}'])
def test_a_broken_file_is_no_failure(manifest: Manifest, content: str) -> None:
    path = keep(manifest, [FAST])
    path.write_text(content)
    assert "the measurements cannot be read" in advice(manifest).reason


def test_another_build_is_not_measured(manifest: Manifest) -> None:
    keep(manifest, [FAST])
    other = dataclasses.replace(manifest, image=dataclasses.replace(manifest.image, resample="bilinear"))
    assert file_of(other) != file_of(manifest)
    assert advice(other).device is None


def test_a_place_that_cannot_be_written_is_told(manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(DeviceError, match=r"cannot be kept in .*; set `VLSCORE_HOME` elsewhere"):
        keep(manifest, [FAST])


def test_every_setting_is_timed_in_turns(manifest: Manifest, tiny_bundle: Path) -> None:
    seen: list[tuple[int, int]] = []
    timings = measure(tiny_bundle / "masked.onnx", Passes.of(manifest), 1, lambda done, total, doing: seen.append((done, total)))
    assert {Setting(one.device, one.precision, one.threads) for one in timings} == set(settings("fp32"))
    assert {"cpu", "openvino"} == {one.device for one in timings}
    assert [one.passes_per_s for one in timings] == sorted((one.passes_per_s for one in timings), reverse=True)
    assert seen[-1][0] == seen[-1][1] == 2 * len(timings)


def test_baked_precisions_run_as_they_are() -> None:
    assert {setting.precision for setting in settings("int8")} == {"int8"}


def test_nothing_to_time_is_told(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "OPENERS", {})
    with pytest.raises(DeviceError, match="no device can be used"):
        measure(Path("masked.onnx"), Passes.of(manifest))


def test_half_the_threads_are_tried_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tuning.thread_counts() == [2]
    monkeypatch.setenv("VLSCORE_THREADS", "8")
    assert tuning.thread_counts() == [8, 4]


@pytest.mark.usefixtures("manifest")
def test_the_command(tiny_bundle: Path) -> None:
    result = CliRunner().invoke(app, ["tune", str(tiny_bundle), "--rounds", "1"])
    assert result.exit_code == 0, result.output
    for part in ("tiny-rn, fp32, batches of 32", "openvino", "cpu", "passes/s", "kept in ", "auto: measured here: "):
        assert part in result.stdout
    manifest = open_bundle(tiny_bundle).manifest
    assert measurements.load(file_of(manifest)).machine == this_machine()
