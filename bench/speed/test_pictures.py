"""A whole picture, from its pixels to the boxes, by each preset; minutes for a large model, so few rounds."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.speed.conftest import Open
from runtime import Localizer
from runtime.pictures import Pixels

ROUNDS = {"exact": 3, "fast": 5, "instant": 10}
QUERY = "an astronaut"


@pytest.mark.parametrize("preset", list(ROUNDS))
def test_whole_picture(benchmark: BenchmarkFixture, localizer: Localizer, open_model: Open, picture: Pixels, preset: str) -> None:
    """One picture and one query."""
    opened = localizer if preset == "exact" else open_model(preset=preset)
    found = opened(picture, QUERY)
    assert found.preset == preset
    assert np.isfinite(found.map).all()
    benchmark.extra_info.update(preset=preset, passes=found.passes)
    benchmark.pedantic(opened, (picture, QUERY), rounds=ROUNDS[preset])
