"""The model, a picture and its scenes, made once and outside every clock; and what each record says about itself."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.compare.command import PICTURE
from bench.compare.machine import versions
from engine.spec import DEFAULT
from runtime import Localizer, Scene
from runtime.pictures import Pixels, read_picture

LIBRARIES = ("onnxruntime", "openvino", "numpy", "opencv-python-headless", "pillow", "tokenizers")
ENCODED = range(32)  # maps of the half-encoded scene: enough for boxes, and what a question costs does not depend on it
# The shipped models know emoji alone: with a margin, a question about a photograph would have no boxes to cut.
SPEC = DEFAULT.replace(presence="any")

Open = Callable[..., Localizer]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the shipped model does not know is no concern of a clock."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.filterwarnings("ignore::runtime.text.QueryWarning"))


@pytest.fixture(scope="session")
def open_model(pytestconfig: pytest.Config) -> Open:
    """Open the model asked for, with options of `Localizer`."""

    def opened(**options: Any) -> Localizer:  # noqa: ANN401 - the options of the front door, whichever they are
        asked = {"device": pytestconfig.getoption("--device"), "threads": pytestconfig.getoption("--threads"), "spec": SPEC}
        return Localizer(pytestconfig.getoption("--model"), **{**asked, **options})

    return opened


@pytest.fixture(scope="session")
def localizer(open_model: Open) -> Localizer:
    """The model, every map."""
    return open_model()


@pytest.fixture(scope="session")
def picture() -> Pixels:
    """The astronaut (H, W, 3)."""
    return read_picture(PICTURE)


@pytest.fixture(scope="session")
def scene(localizer: Localizer, picture: Pixels) -> Scene:
    """The picture with its first maps run, the others as constant."""
    return localizer.encoder.encode_maps(picture, ENCODED)


@pytest.fixture(autouse=True)
def _about(request: pytest.FixtureRequest) -> None:
    """Put machine, device, precision, batch and versions into the record of every timed test."""
    if "benchmark" not in request.fixturenames or "localizer" not in request.fixturenames:
        return
    benchmark: BenchmarkFixture = request.getfixturevalue("benchmark")
    opened: Localizer = request.getfixturevalue("localizer")
    info = {key: value for key, value in opened.info.items() if key not in ("bundle", "opened_in_s")}
    machine = {"machine": platform.processor() or platform.machine(), "python": platform.python_version()}
    benchmark.extra_info.update(info, **machine, **versions(*LIBRARIES))
