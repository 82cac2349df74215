"""The graphs of the image half: one batch of masked passes, and the picture's first look."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.compare.partial import partial_scene
from runtime import Localizer
from runtime.packing import Batch
from runtime.pictures import Pixels
from runtime.preprocess import place


@pytest.fixture(scope="module")
def square(localizer: Localizer, picture: Pixels) -> Pixels:
    """The picture as the model sees it (R, R, 3)."""
    info = localizer.manifest.image
    return place(picture, info.side, localizer.spec.geometry, info.resample, info.mean)[0]


@pytest.fixture(scope="module")
def batch(localizer: Localizer, picture: Pixels) -> Batch:
    """A full batch of one picture's first maps."""
    encoder = localizer.encoder
    return encoder.gather([encoder.begin(picture)])


def test_masked_passes(benchmark: BenchmarkFixture, localizer: Localizer, picture: Pixels, batch: Batch) -> None:
    """One batch; the record holds passes per second."""
    embeddings = localizer.encoder.run_arrays(batch)
    which = [index for _, index in batch.places]
    wanted = partial_scene(localizer, picture, which).embeddings[which]
    np.testing.assert_allclose(embeddings[: len(which)], wanted, atol=1e-6)
    benchmark.pedantic(localizer.encoder.run_arrays, (batch,), rounds=20, warmup_rounds=2)
    if benchmark.stats is not None:  # None under --benchmark-disable
        benchmark.extra_info["passes_per_s"] = round(len(batch.places) / benchmark.stats.stats.median, 2)


def test_image_graph(benchmark: BenchmarkFixture, localizer: Localizer, square: Pixels) -> None:
    """The maps and the embedding of one picture."""
    maps, embedding = localizer.encoder.look(square)
    assert maps.shape[1:] == (localizer.manifest.maps.height, localizer.manifest.maps.width)
    assert np.linalg.norm(embedding) == pytest.approx(1, abs=1e-3)
    benchmark.pedantic(localizer.encoder.look, (square,), rounds=20, warmup_rounds=2)


def test_preprocessing(benchmark: BenchmarkFixture, localizer: Localizer, picture: Pixels) -> None:
    """A decoded picture onto the model's square."""
    info = localizer.manifest.image
    pixels, frame = benchmark(place, picture, info.side, localizer.spec.geometry, info.resample, info.mean)
    assert pixels.shape == (info.side, info.side, 3)
    assert frame.picture_hw == picture.shape[:2]
