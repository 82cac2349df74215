"""The ways themselves, on a small random model: each computes what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.compare.command import main
from bench.compare.job import Job, Reference, UnavailableError
from bench.compare.measure import hired
from bench.compare.options import PICTURE, parse
from bench.compare.ours import PassClock
from bench.compare.partial import partial_scene
from bench.compare.torch_ways import Oracle
from bench.compare.ways import BY_NAME
from bench.compare.workers import Worker
from runtime import Localizer, Scene
from tests.configs import photo


@pytest.fixture(scope="module")
def job(tiny_bundle: Path, workshop: Path) -> Job:
    return Job(str(workshop / "tiny-rn.json"), "none", str(tiny_bundle), str(PICTURE), "an astronaut", "paper", 2, 32, 64)


@pytest.fixture(scope="module")
def reference(job: Job) -> Reference:
    return Oracle(job).reference()


@pytest.mark.parametrize("name", ["published", "torch", "torch-bf16", "gscorecam", "gradcam-one"])
def test_a_way_in_pytorch_agrees_and_runs(job: Job, reference: Reference, name: str) -> None:
    way = BY_NAME[name]
    prepared = way.prepare(job, reference)
    assert way.accepts(prepared.check())
    facts, turn, whole = prepared.facts(), prepared.turn(), prepared.whole()
    assert (turn.passes > 0) == (facts.needed > 0)
    assert whole.passes in (1, facts.needed)
    assert whole.xyxy.shape[1:] == (4,)


def test_our_own_way_agrees_and_runs_without_pytorch(job: Job, reference: Reference) -> None:
    way = BY_NAME["exact"]
    with hired(Worker(way.prepare, (job, reference), job.threads)) as worker:
        assert way.accepts(worker.ask("check"))  # refuses when PyTorch was imported
        assert worker.ask("turn").passes >= job.passes
        assert worker.ask("whole").passes == worker.ask("facts").needed == reference.needed
        assert worker.ask("queries", 3)["several"] == 3


@pytest.mark.parametrize(("name", "module"), [("grad-cam", "pytorch_grad_cam"), ("torchcam", "torchcam")])
def test_a_package_agrees_where_it_is_installed(job: Job, reference: Reference, name: str, module: str) -> None:
    pytest.importorskip(module)
    way = BY_NAME[name]
    prepared = way.prepare(job, reference)
    agreement = prepared.check()
    assert agreement.deviation < 1e-3, agreement
    assert prepared.turn().passes > job.passes  # the picture itself runs through the encoder as well


def test_gradients_need_a_resnet(workshop: Path, tiny_vit_bundle: Path) -> None:
    job = Job(str(workshop / "tiny-vit.json"), "none", str(tiny_vit_bundle), str(PICTURE), "a cat", "paper", 2, 16, 16)
    with pytest.raises(UnavailableError, match="last layer of a ResNet"):
        BY_NAME["gradcam-one"].prepare(job, Oracle(job).reference())


def test_a_missing_bundle_is_a_reason(job: Job, reference: Reference) -> None:
    with pytest.raises(UnavailableError, match="is not a bundle"):
        BY_NAME["int8"].prepare(job, reference)


def test_part_of_a_scene_is_part_of_the_scene(tiny_localizer: Localizer, cat_scene: Scene) -> None:
    which = [3, 200, 511]
    part = partial_scene(tiny_localizer, photo("cat"), which)
    np.testing.assert_allclose(part.embeddings[which], cat_scene.embeddings[which], atol=1e-6)
    np.testing.assert_array_equal(part.embeddings[0], part.base)


def test_the_clock_starts_after_the_first_batch(tiny_localizer: Localizer) -> None:
    clock = PassClock(10**9)
    scene = tiny_localizer.encode(photo("cat"), progress=clock)
    assert clock.passes == scene.live - 32
    assert clock.seconds > 0


def test_bad_options_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for arguments, code, words in (
        (["--ways", "exact,fastest"], "2", "way `fastest` is unknown"),
        (["--rounds", "0"], "2", "not a whole number above 0"),
        (["--readme", str(tmp_path / "none.json")], "1", "does not exist"),
    ):
        with pytest.raises(SystemExit, match=code):
            main(arguments)
        assert words in capsys.readouterr().err


def test_bundles_of_other_precisions_lie_beside() -> None:
    assert parse(["--backbone", "RN50"]).job(2).bundle("int8") == "RN50-random-int8"
    assert parse(["--backbone", "demo-rn"]).job(2).bundle("fp32") == "demo-rn"
    assert parse(["--model", "folder/RN50"]).job(2).bundle("int8") == "folder/RN50-int8"
