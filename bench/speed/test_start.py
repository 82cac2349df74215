"""Opening a model: in this process, and in an interpreter that has loaded nothing."""

from __future__ import annotations

import subprocess
import sys

from pytest_benchmark.fixture import BenchmarkFixture

from bench.compare.machine import ROOT
from bench.speed.conftest import Open
from runtime import Localizer

CODE = "import sys; from runtime import Localizer; print(Localizer(sys.argv[1], device=sys.argv[2]).manifest.backbone)"


def test_open(benchmark: BenchmarkFixture, localizer: Localizer, open_model: Open) -> None:
    """Every file verified, the tokenizer read; graphs are loaded when they are first run."""
    assert open_model().fingerprint == localizer.fingerprint
    benchmark.pedantic(open_model, rounds=5, warmup_rounds=1)


def test_cold_start(benchmark: BenchmarkFixture, localizer: Localizer) -> None:
    """A fresh interpreter imports the package and opens the model."""
    command = [sys.executable, "-c", CODE, str(localizer.bundle.folder), localizer.device]

    def start() -> str:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    assert start() == localizer.manifest.backbone
    benchmark.pedantic(start, rounds=5)
