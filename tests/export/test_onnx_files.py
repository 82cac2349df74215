"""Writing graphs: exact halving, shared weights files, fixed shapes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.onnx_files import EXTERNAL_FROM, OPSET, ExportError, WeightsFile, export_graph, halve_where_exact, save_graph

Floats = NDArray[np.float32]
SIDE = 32  # 32 x 32 float32 are larger than EXTERNAL_FROM


def product_of(*weights: Floats) -> onnx.ModelProto:
    """The model x @ w0 + x @ w1 + ..."""
    nodes = [helper.make_node("MatMul", ["x", f"w{i}"], [f"y{i}"]) for i in range(len(weights))]
    nodes.append(helper.make_node("Sum", [f"y{i}" for i in range(len(weights))], ["y"]))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, SIDE]) for name in ("x", "y")]
    tensors = [numpy_helper.from_array(weight, f"w{i}") for i, weight in enumerate(weights)]
    graph = helper.make_graph(nodes, "product", ends[:1], ends[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def random(seed: int) -> Floats:
    return np.random.default_rng(seed).normal(size=(SIDE, SIDE)).astype(np.float32)


def halves(seed: int) -> Floats:
    """Weights as a half-precision checkpoint holds them."""
    return random(seed).astype(np.float16).astype(np.float32)


def one_off(value: float) -> Floats:
    """Half-precision weights but for one number."""
    weights = halves(3)
    weights[5, 7] = value
    return weights


def run(model: onnx.ModelProto | str, x: Floats) -> Floats:
    session = onnxruntime.InferenceSession(model if isinstance(model, str) else model.SerializeToString())
    return np.asarray(session.run(["y"], {"x": x})[0])


def types(model: onnx.ModelProto) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def test_half_precision_weights_are_stored_in_half_and_compute_the_same() -> None:
    model = product_of(halves(0), random(1))
    x = np.random.default_rng(2).normal(size=(1, SIDE)).astype(np.float32)
    before = run(model, x)
    halve_where_exact(model)
    assert types(model) == {"w0.half": TensorProto.FLOAT16, "w1": TensorProto.FLOAT}
    assert np.array_equal(numpy_helper.to_array(model.graph.initializer[0]).astype(np.float32), halves(0))
    assert [node.op_type for node in model.graph.node] == ["Cast", "MatMul", "MatMul", "Sum"]
    onnx.checker.check_model(model, full_check=True)
    assert np.array_equal(run(model, x), before)


@pytest.mark.parametrize("value", [65536.0, 1e-8, 1 / 3, float("nan"), 2049.0])
def test_one_number_that_does_not_fit_keeps_the_tensor_whole(value: float) -> None:
    model = product_of(one_off(value))
    halve_where_exact(model)
    assert types(model) == {"w0": TensorProto.FLOAT}


@pytest.mark.parametrize("value", [-0.0, 6e-8, 65504.0])
def test_zeros_of_either_sign_and_the_ends_of_the_range_fit(value: float) -> None:
    weights = one_off(float(np.float16(value)))
    model = product_of(weights)
    halve_where_exact(model)
    stored = numpy_helper.to_array(model.graph.initializer[0]).astype(np.float32)
    assert types(model) == {"w0.half": TensorProto.FLOAT16}
    assert stored.tobytes() == weights.tobytes()


def test_small_weights_stay_in_the_graph(tmp_path: Path) -> None:
    model = product_of(random(0))
    small = numpy_helper.from_array(np.ones(EXTERNAL_FROM // 4 - 1, np.float32), "small")
    model.graph.initializer.append(small)
    save_graph(model, tmp_path / "g.onnx", WeightsFile(tmp_path / "g.weights"))
    saved = onnx.load(tmp_path / "g.onnx", load_external_data=False)
    places = {tensor.name: tensor.data_location for tensor in saved.graph.initializer}
    assert places == {"w0": TensorProto.EXTERNAL, "small": TensorProto.DEFAULT}


def test_graphs_that_share_a_file_store_equal_weights_once(tmp_path: Path) -> None:
    weights = WeightsFile(tmp_path / "both.weights")
    x = np.random.default_rng(2).normal(size=(1, SIDE)).astype(np.float32)
    models = [product_of(random(0), random(1)), product_of(random(1), random(4), random(1))]
    expected = [run(model, x) for model in models]
    for index, model in enumerate(models):
        save_graph(model, tmp_path / f"{index}.onnx", weights)
    assert (tmp_path / "both.weights").stat().st_size == 3 * SIDE * SIDE * 4
    for index, result in enumerate(expected):
        assert np.array_equal(run(str(tmp_path / f"{index}.onnx"), x), result)


def test_weights_begin_at_round_addresses(tmp_path: Path) -> None:
    weights = WeightsFile(tmp_path / "w")
    for length in (1030, 2000, 1024):
        tensor = numpy_helper.from_array(np.arange(length, dtype=np.int64).astype(np.uint8), f"t{length}")
        weights.place(tensor)
        entry = {item.key: item.value for item in tensor.external_data}
        assert int(entry["offset"]) % 64 == 0
        assert int(entry["length"]) == length


class Doubled(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


class Nonzero(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.nonzero()


def test_exported_graphs_keep_their_names_and_shapes() -> None:
    model = export_graph(Doubled(), {"x": torch.zeros(1, SIDE)}, ("y",))
    x = random(0)[:1]
    assert np.array_equal(run(model, x), x * 2)


def test_graphs_without_fixed_shapes_are_refused() -> None:
    with pytest.raises(ExportError, match="`y` has no fixed shape"):
        export_graph(Nonzero(), {"x": torch.ones(1, SIDE)}, ("y",))


def test_the_exporter_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    export_graph(Doubled(), {"x": torch.zeros(1, 3)}, ("y",))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


class End(torch.nn.Module):
    """Where the largest token stands."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return tokens.argmax(dim=-1).float()


def test_the_largest_token_is_found_among_floats_and_is_the_same() -> None:
    """CUDA has no ArgMax of integers; neighbours at the end of CLIP's vocabulary must stay apart as floats."""
    tokens = np.array([[49405, 49406, 49407, 0], [49406, 49407, 49405, 49406]])
    model = export_graph(End(), {"tokens": torch.from_numpy(tokens)}, ("ends",))
    makers = {output: node for node in model.graph.node for output in node.output}
    (largest,) = (node for node in model.graph.node if node.op_type == "ArgMax")
    cast = makers[largest.input[0]]
    assert (cast.op_type, cast.attribute[0].i) == ("Cast", TensorProto.FLOAT)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    np.testing.assert_array_equal(session.run(None, {"tokens": tokens})[0], [2, 1])
