"""The model, a picture and its scenes, made once and outside every clock; and what each record says about itself."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.compare.options import PICTURE
from bench.compare.partial import partial_scene
from runtime import Localizer, Scene
from runtime.pictures import Pixels, read_picture

LIBRARIES = ("onnxruntime", "openvino", "numpy", "opencv-python-headless", "pillow", "tokenizers")
ENCODED = 32  # maps of the half-encoded scene: enough for boxes, and what a question costs does not depend on it

Open = Callable[..., Localizer]


@pytest.fixture(scope="session")
def open_model(pytestconfig: pytest.Config) -> Open:
    """Open the model asked for, with options of `Localizer`; skip what this version cannot be asked for."""

    def opened(**options: str) -> Localizer:  # the options of the front door, whichever they are
        asked: dict[str, Any] = {"device": pytestconfig.getoption("--device"), "threads": pytestconfig.getoption("--threads")}
        try:
            return Localizer(pytestconfig.getoption("--model"), **{**asked, **options})
        except TypeError as error:
            pytest.skip(f"not run: this version of vlscore cannot be asked for it ({error})")

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
    return partial_scene(localizer, picture, count=ENCODED)


@pytest.fixture(autouse=True)
def _about(request: pytest.FixtureRequest) -> None:
    """Put machine, device, precision, batch and versions into the record of every timed test."""
    if "benchmark" not in request.fixturenames or "localizer" not in request.fixturenames:
        return
    benchmark: BenchmarkFixture = request.getfixturevalue("benchmark")
    opened: Localizer = request.getfixturevalue("localizer")
    benchmark.extra_info.update(about(opened))


def about(localizer: Localizer) -> dict[str, Any]:
    """What is measured, on what; the device is the one in use, whatever was asked for."""
    info = {key: value for key, value in localizer.info.items() if key not in ("bundle", "opened_in_s")}
    versions = {}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return {**info, "machine": platform.processor() or platform.machine(), "python": platform.python_version(), **versions}
