"""The image half: one batch of masked passes, the picture's first look, and whole pictures by each preset."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.speed.conftest import Open
from runtime import Localizer
from runtime.pictures import Pixels
from runtime.preprocess import fit_to_square

ROUNDS = {"exact": 3, "fast": 5, "instant": 10}  # a whole picture takes minutes of a large model
QUERY = "an astronaut"


@pytest.fixture(scope="module")
def square(localizer: Localizer, picture: Pixels) -> Pixels:
    """The picture as the model sees it (R, R, 3)."""
    info = localizer.manifest.image
    return fit_to_square(picture, info.side, localizer.spec.geometry, info.resample, info.mean)[0]


def test_masked_passes(benchmark: BenchmarkFixture, localizer: Localizer, picture: Pixels, square: Pixels) -> None:
    """One full batch of a picture's first maps; the record holds passes per second."""
    encoder, batch = localizer.encoder, localizer.manifest.batch
    seen, _ = encoder.look(picture)
    which = np.flatnonzero(seen.live)[:batch]
    wanted = encoder.encode_maps(picture, which.tolist()).embeddings[which]
    np.testing.assert_allclose(encoder.run_maps(square, seen.maps[which]), wanted, atol=1e-6)
    benchmark.pedantic(encoder.run_maps, (square, seen.maps[which]), rounds=20, warmup_rounds=2)
    if benchmark.stats is not None:  # None under --benchmark-disable
        benchmark.extra_info["passes_per_s"] = round(batch / benchmark.stats.stats.median, 2)


def test_image_graph(benchmark: BenchmarkFixture, localizer: Localizer, square: Pixels) -> None:
    """The maps and the embedding of one picture."""
    outputs = localizer.encoder.run_checked("image", square)
    assert outputs["maps"].shape[1:] == (localizer.manifest.maps.height, localizer.manifest.maps.width)
    assert np.linalg.norm(outputs["embedding"]) == pytest.approx(1, abs=1e-3)
    benchmark.pedantic(localizer.encoder.run_checked, ("image", square), rounds=20, warmup_rounds=2)


def test_preprocessing(benchmark: BenchmarkFixture, localizer: Localizer, picture: Pixels) -> None:
    """A decoded picture onto the model's square."""
    info = localizer.manifest.image
    pixels, frame = benchmark(fit_to_square, picture, info.side, localizer.spec.geometry, info.resample, info.mean)
    assert pixels.shape == (info.side, info.side, 3)
    assert frame.picture_hw == picture.shape[:2]


@pytest.mark.parametrize("preset", list(ROUNDS))
def test_whole_picture(benchmark: BenchmarkFixture, localizer: Localizer, open_model: Open, picture: Pixels, preset: str) -> None:
    """One picture and one query."""
    opened = localizer if preset == "exact" else open_model(preset=preset)
    found = opened(picture, QUERY)
    assert found.preset == preset
    assert np.isfinite(found.map).all()
    benchmark.extra_info.update(preset=preset, passes=found.passes)
    benchmark.pedantic(opened, (picture, QUERY), rounds=ROUNDS[preset])
