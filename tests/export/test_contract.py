"""The rules that every graph keeps: the exported ones do, and a graph that breaks one is told which."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.contract import check_contract, violations
from export.onnx_files import OPSET, ExportError
from export.options import HALVES
from runtime.bundles import DEFAULT_MODEL, SHIPPED
from tests.conftest import MakeBundle
from tests.export.cuda_kernels import check_bundle

Model = onnx.ModelProto


def graphs(folder: Path) -> list[tuple[str, Model]]:
    return [(path.name, onnx.load(path, load_external_data=False)) for path in sorted(folder.glob("*.onnx"))]


def test_shipped_graphs_keep_the_rules() -> None:
    found = graphs(SHIPPED / DEFAULT_MODEL)
    assert len(found) >= 4
    for name, graph in found:
        assert list(violations(graph)) == [], name
    assert check_bundle(SHIPPED / DEFAULT_MODEL) == []


@pytest.mark.parametrize("config", ["tiny-rn", "tiny-vit"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-symmetric"])
def test_every_family_and_precision_for_cards_keeps_the_rules(make_bundle: MakeBundle, config: str, precision: str) -> None:
    folder = make_bundle(config, f"{config}-{precision}-contract", precision=precision)
    for name, graph in graphs(folder):
        assert list(violations(graph)) == [], name
    assert check_bundle(folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("config", ["tiny-rn", "tiny-vit"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8-symmetric"])
def test_the_graphs_of_all_methods_have_kernels(make_bundle: MakeBundle, config: str, precision: str) -> None:
    folder = make_bundle(config, f"{config}-{precision}-methods", precision=precision, methods="all")
    assert {path.name.partition("-")[0] for path in folder.glob("*-*.onnx")} >= {"dense", "prompted"}
    assert check_bundle(folder) == []


def test_eight_bits_for_cards_lie_over_half_precision(make_bundle: MakeBundle) -> None:
    folder = make_bundle("tiny-rn", "tiny-rn-int8-symmetric-contract", precision="int8-symmetric")
    model = onnx.load(folder / "masked.onnx", load_external_data=False)
    kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4 and tensor.dims[0] > 1}
    assert kinds == {TensorProto.INT8, TensorProto.FLOAT16}  # weights of convolutions: quantised ones, and the stem's
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    sums = [node for node in model.graph.node if node.op_type == "Add" and makers.get(node.input[0]) == "Conv"]
    pools = [node for node in model.graph.node if node.op_type == "AveragePool"][1:]  # without the stem's
    assert len(sums) == 4  # a block of each stage
    assert len(pools) >= 6  # two of every stage with a stride
    assert {makers[node.input[1]] for node in sums} == {makers[node.input[0]] for node in pools} == {"DequantizeLinear"}
    assert not (folder / HALVES).exists()
    before = onnx.load(folder / "image.onnx", load_external_data=False)  # the maps come from there, and stay as they are
    assert TensorProto.FLOAT16 not in {value.type.tensor_type.elem_type for value in before.graph.value_info}


def made(
    nodes: list[onnx.NodeProto],
    constants: dict[str, np.ndarray] | None = None,
    x: tuple[int, list[int | str]] = (TensorProto.FLOAT, [2, 3]),
    opset: int = OPSET,
) -> Model:
    """A graph from `x` to `y`."""
    weights = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    ends = [helper.make_tensor_value_info("x", *x)], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "made", *ends, initializer=weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def node(kind: str, inputs: str, output: str = "y", **attributes: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=f"the-{kind.lower()}", **attributes)


def quantise(zero: np.ndarray) -> Model:
    scale = np.float32(0.1)
    steps = [node("QuantizeLinear", "x scale zero", "q"), node("DequantizeLinear", "q scale zero")]
    return made(steps, {"scale": np.asarray(scale), "zero": zero})


BREAKS: dict[str, tuple[Callable[[], Model], str]] = {
    "unknown operator": (lambda: made([node("Einsum", "x", equation="ij->ij")]), "looked up"),
    "resize": (
        lambda: made([helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear")], {"sizes": np.array([4, 6])}),
        "looked up",
    ),
    "another opset": (lambda: made([node("Relu", "x")], opset=17), "opsets"),
    "axes that are computed": (
        lambda: made(
            [node("Cast", "one", "axes", to=TensorProto.INT64), node("ReduceMax", "x axes")], {"one": np.array([1.0], np.float32)}
        ),
        "axes must be constant",
    ),
    "a shape that is open": (lambda: made([node("Relu", "x")], x=(TensorProto.FLOAT, ["n", 3])), "not fixed"),
    "bytes that are moved": (
        lambda: made([node("Transpose", "x", "t"), node("Cast", "t", to=TensorProto.FLOAT)], x=(TensorProto.UINT8, [2, 3])),
        "cast to floats",
    ),
    "the largest of integers": (
        lambda: made([node("ArgMax", "x", "a"), node("Cast", "a", to=TensorProto.FLOAT)], x=(TensorProto.INT64, [2, 3])),
        "CUDA has no kernel",
    ),
    "single precision beside eight bits": (
        lambda: made(
            [
                node("QuantizeLinear", "x scale zero", "q"),
                node("DequantizeLinear", "q scale zero", "d"),
                node("Conv", "d w"),
            ],
            {"scale": np.asarray(np.float32(0.1)), "zero": np.int8(0).reshape(()), "w": np.ones((1, 1, 1, 1), np.float32)},
            x=(TensorProto.FLOAT, [1, 1, 2, 2]),
        ),
        "must compute in half precision",
    ),
    "a zero point": (lambda: quantise(np.int8(3).reshape(())), "must be 0"),
    "unsigned bits": (lambda: quantise(np.uint8(0).reshape(())), "signed"),
    "a 32-bit bias": (
        lambda: made(
            [node("DequantizeLinear", "b s", "bias"), node("Add", "x bias")],
            {"b": np.array([1, 2, 3], np.int32), "s": np.asarray(np.float32(0.1))},
        ),
        "32-bit",
    ),
    "two types in a sum": (lambda: made([node("Add", "x h")], {"h": np.ones(3, np.float16)}), "types"),
}  # fmt: skip


@pytest.mark.parametrize("name", BREAKS)
def test_every_rule_bites(name: str) -> None:
    build, told = BREAKS[name]
    found = list(violations(build()))
    assert any(told in line for line in found), found
    with pytest.raises(ExportError, match="graph `made` breaks"):
        check_contract(build(), "made")


def test_a_plain_graph_passes() -> None:
    kept = made([node("Add", "x b", "s"), node("ReduceMax", "s axes")], {"b": np.ones(3, np.float32), "axes": np.array([1])})
    assert list(violations(kept)) == []
    assert list(violations(quantise(np.int8(0).reshape(())))) == []
    check_contract(kept, "kept")
