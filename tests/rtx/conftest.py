"""TensorRT-RTX, loaded from the wheel of ONNX Runtime's plug-in, and the bundles to read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.gpu.rtx import import_rtx, there

ROWS: list[tuple[str, str, float, float, int]] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which bundles, and where the table goes."""
    parser.addoption("--bundle", action="append", default=[], help="a bundle's folder; may be given several times")
    parser.addoption("--table", default="", help="write the results to this file")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per graph."""
    if "graph" in metafunc.fixturenames:
        folders = [Path(folder) for folder in metafunc.config.getoption("bundle")]
        graphs = [path for folder in folders for path in sorted(folder.glob("*.onnx"))]
        metafunc.parametrize("graph", graphs, ids=[f"{path.parent.name}-{path.stem}" for path in graphs])


@pytest.fixture(scope="session")
def trt() -> Any:
    """The module."""
    if not there():
        pytest.fail("TensorRT-RTX is not installed: run `make test-rtx`")
    return import_rtx()


@pytest.fixture(scope="session", autouse=True)
def table(request: pytest.FixtureRequest) -> Iterator[None]:
    """Write what was accepted, and how long it took."""
    yield
    target = request.config.getoption("table")
    if target and ROWS:
        rows = [
            (bundle, graph, f"{parse:.2f}", f"{build:.2f}", f"{size / 2**20:.1f}") for bundle, graph, parse, build, size in ROWS
        ]
        lines = [f"| {' | '.join(row)} |" for row in rows]
        head = "| bundle | graph | parsed, s | built, s | plan, MiB |\n|---|---|---|---|---|\n"
        Path(target).write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
