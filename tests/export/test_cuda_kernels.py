"""The rule by which ONNX Runtime finds kernels, and the release that the `gpu` extra asks for. Bundles: `test_contract.py`."""

from __future__ import annotations

import re
import tomllib

import numpy as np
import pytest
from onnx import TensorProto

from engine.operators import OPERATORS
from tests.configs import ROOT
from tests.export.cuda_kernels import TABLES, matches, without_kernel
from tests.export.test_contract import made, node


@pytest.mark.parametrize(
    ("version", "span", "found"),
    [(13, (13, None), True), (20, (18, 19), False), (20, (20, None), True), (20, (18, None), False), (19, (18, 20), True)],
)
def test_a_kernel_without_end_is_for_its_own_version_alone(version: int, span: tuple[int, int | None], found: bool) -> None:
    assert matches(version, *span) is found


def test_the_extra_allows_the_releases_that_there_are_tables_of() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (asked,) = (line for line in extras["gpu"] if line.startswith("onnxruntime-gpu"))
    release = re.search(r"~=([\d.]+)$", asked).group(1)  # and its bug fixes
    assert list(TABLES) == [release]
    assert f"ONNXRUNTIME_GPU = onnxruntime-gpu~={release}\n" in (ROOT / "Makefile").read_text()


def test_every_operator_that_a_graph_may_hold_was_looked_up() -> None:
    for table in TABLES.values():
        assert set(table["kernels"]) >= OPERATORS


def test_nodes_without_a_kernel_are_named() -> None:
    (table,) = TABLES.values()
    integers = made([node("ArgMax", "x", "a"), node("Cast", "a", to=TensorProto.FLOAT)], x=(TensorProto.INT64, [2, 3]))
    assert list(without_kernel(integers, table)) == ["ArgMax-13: no kernel for int64"]
    before = {**table, "kernels": {**table["kernels"], "ReduceMax": {"versions": [[18, None]], "types": ["float"]}}}
    largest = made([node("ReduceMax", "x axes")], {"axes": np.array([1])})
    assert list(without_kernel(largest, before)) == ["ReduceMax-20: no kernel, those there are for [[18, None]]"]
    assert list(without_kernel(largest, table)) == []
