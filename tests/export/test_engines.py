"""`--tensorrt`: engines ahead of their first use, or a clear refusal that costs no bundle."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from export import build
from runtime.backends.tensorrt import TensorRTBackend
from runtime.bundles import open_bundle
from tests.trt.fake_cuda import FakeCard
from tests.trt.fake_trt import Fake


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path / "home"))


def test_engines_are_built_once_and_found_at_run_time(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = FakeCard()
    fake = Fake(11, card)
    said: list[str] = []
    monkeypatch.setattr(build, "TensorRTBackend", lambda **_: TensorRTBackend(trt=fake, driver=card, report=said.append))
    count = len(open_bundle(tiny_bundle).manifest.graphs)
    assert build.build_engines(tiny_bundle) == len(fake.builds) == len(said) == count
    assert all("building a TensorRT engine of" in line for line in said)
    assert build.build_engines(tiny_bundle) == len(fake.builds) == count
    strict = TensorRTBackend(trt=fake, driver=card, policy="refuse")
    for graph in open_bundle(tiny_bundle).manifest.graphs.values():
        strict.open(tiny_bundle / graph.file)
    assert len(list((tmp_path / "home" / ".tensorrt").glob("*.plan"))) == count


def test_without_a_card_the_bundle_stays_and_the_refusal_is_clear(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "run", lambda *given: tiny_bundle)
    result = CliRunner().invoke(build.app, ["--backbone", "RN50", "--pretrained", "none", "--tensorrt"])
    assert result.exit_code == 1
    assert "asked for `tensorrt`; found no TensorRT that can be loaded" in " ".join(result.output.split())
    assert open_bundle(tiny_bundle).manifest.backbone
