"""What the timed tests are asked for: `pytest bench --benchmark-only --model RN50 --device openvino`."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Choose the model and the device of the timed tests."""
    group = parser.getgroup("vlscore")
    group.addoption("--model", default="demo-rn", help="bundle by name or folder (default: the one shipped)")
    group.addoption("--device", default="cpu", help="where its graphs run (default: cpu)")
    group.addoption("--threads", type=int, help="threads of its sessions")
