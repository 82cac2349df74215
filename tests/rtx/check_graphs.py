"""Every graph is taken by NVIDIA's parser and builder, by the very code that builds engines on a card; bad ones are refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import conftest
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from runtime.backends.tensorrt.build import EngineError, EngineOptions, build_plan, network_flags, shared_log


def test_graph_is_taken(trt: Any, graph: Path) -> None:
    began = time.perf_counter()
    log = shared_log(trt)
    network = trt.Builder(log).create_network(network_flags(trt))
    assert trt.OnnxParser(network, log).parse_from_file(str(graph)), log.take_errors()
    parsed = time.perf_counter()
    built = build_plan(trt, graph, EngineOptions())
    ended = time.perf_counter()
    assert len(built.plan) > 1000
    conftest.ROWS.append((graph.parent.name, graph.stem, parsed - began, ended - parsed, len(built.plan)))


def made(path: Path, nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], kind: int = TensorProto.FLOAT) -> Path:
    """A graph from `x` (1, 3, 4, 4) to `y`."""
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    x = helper.make_tensor_value_info("x", kind, [1, 3, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "made", [x], [y], initializer=weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


BAD = {
    "two types in a sum": (
        [helper.make_node("Add", ["x", "h"], ["y"], name="sum")],
        {"h": np.ones(4, np.float16)},
        TensorProto.FLOAT,
    ),
    "32-bit bias": (
        [
            helper.make_node("DequantizeLinear", ["b", "s"], ["bias"], name="bias"),
            helper.make_node("Add", ["x", "bias"], ["y"], name="sum"),
        ],
        {"b": np.array([1, 2, 3, 4], np.int32), "s": np.asarray(np.float32(0.5))},
        TensorProto.FLOAT,
    ),
    "antialias": (
        [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], name="resize", mode="linear", antialias=1)],
        {"sizes": np.array([1, 3, 2, 2])},
        TensorProto.FLOAT,
    ),
    "a zero point": (
        [
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], name="quantise"),
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], name="dequantise"),
        ],
        {"s": np.asarray(np.float32(0.5)), "z": np.asarray(np.int8(3))},
        TensorProto.FLOAT,
    ),
    "bytes that are moved": (
        [
            helper.make_node("Transpose", ["x"], ["t"], name="move", perm=[0, 2, 3, 1]),
            helper.make_node("Cast", ["t"], ["y"], name="cast", to=TensorProto.FLOAT),
        ],
        {},
        TensorProto.UINT8,
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_graph_is_refused_with_code_operator_and_node(trt: Any, name: str, tmp_path: Path) -> None:
    nodes, constants, kind = BAD[name]
    with pytest.raises(EngineError) as caught:
        build_plan(trt, made(tmp_path / "bad.onnx", nodes, constants, kind), EngineOptions())
    assert caught.value.nodes, str(caught.value)
    code, operator, node = caught.value.nodes[0]
    assert code in ("INVALID_NODE", "UNSUPPORTED_NODE", "UNSUPPORTED_NODE_ATTR", "UNSUPPORTED_GRAPH")
    assert operator in {each.op_type for each in nodes}
    assert node in {each.name for each in nodes}
    assert "cannot read" in str(caught.value)
