"""What the exported graphs may hold: few operators, one opset, fixed shapes; every weight stored once."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnx.shape_inference
import pytest
from onnx import ModelProto, TensorProto

from engine.manifest import Manifest
from engine.masks import masks
from export.graphs import TextGraph, looks_back_only
from runtime.backends.onnx_cpu import OnnxCpuBackend
from runtime.bundles import open_bundle

if TYPE_CHECKING:
    from export.weights import Loaded
    from tests.conftest import MakeBundle

GRAPHS = ("image", "masked", "text", "text-short", "text-many", "saliency")
BUNDLES = ("tiny_bundle", "tiny_vit_bundle", "tiny_fp16_bundle")

# Everything the graphs of either family need. Each is a plain tensor operation that every runtime has; a new one here
# means another thing that a backend may lack or compute another way.
ALLOWED = {
    *("Add", "Div", "Greater", "Mul", "Sub", "Where"),
    *("AveragePool", "Conv", "Gelu", "Gemm", "LayerNormalization", "MatMul", "Relu", "Sigmoid", "Softmax"),
    *("ArgMax", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"),
    *("Cast", "Clip", "Concat", "Expand", "Gather", "GatherND", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
}

every_graph = pytest.mark.parametrize(("bundle", "graph"), [(b, g) for b in BUNDLES for g in GRAPHS])


def read(request: pytest.FixtureRequest, bundle: str, graph: str, weights: bool = False) -> ModelProto:
    """A graph of one of the session's bundles."""
    return onnx.load(request.getfixturevalue(bundle) / f"{graph}.onnx", load_external_data=weights)


def typed(model: ModelProto) -> dict[str, Any]:
    """The type of every value, as strict shape inference finds it."""
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True).graph
    values = {value.name: value.type.tensor_type for value in (*inferred.value_info, *inferred.input, *inferred.output)}
    assert {name for node in inferred.node for name in node.output} <= values.keys()
    return values


@every_graph
def test_operators(request: pytest.FixtureRequest, bundle: str, graph: str) -> None:
    model = read(request, bundle, graph)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 20)]
    assert not model.functions
    assert {node.op_type for node in model.graph.node} <= ALLOWED
    assert all(node.domain == "" for node in model.graph.node)
    assert not [node.name for node in model.graph.node for attribute in node.attribute if attribute.HasField("g")]


@every_graph
def test_shapes_are_fixed(request: pytest.FixtureRequest, bundle: str, graph: str) -> None:
    values = typed(read(request, bundle, graph, weights=True))
    for name, kind in values.items():
        assert all(dim.HasField("dim_value") for dim in kind.shape.dim), name


@every_graph
def test_reduced_axes_are_constants(request: pytest.FixtureRequest, bundle: str, graph: str) -> None:
    model = read(request, bundle, graph)
    constants = {tensor.name for tensor in model.graph.initializer}
    reductions = [node for node in model.graph.node if node.op_type.startswith("Reduce")]
    assert reductions
    assert all(len(node.input) == 2 and node.input[1] in constants for node in reductions)


@every_graph
def test_nothing_tells_where_it_was_made(request: pytest.FixtureRequest, bundle: str, graph: str) -> None:
    content = (request.getfixturevalue(bundle) / f"{graph}.onnx").read_bytes()
    assert b"/" + b"home" not in content
    assert str(Path(__file__).parent.parent.parent).encode() not in content
    assert b"Traceback" not in content
    assert b".py" not in content


@every_graph
def test_signatures_match_the_manifest(request: pytest.FixtureRequest, bundle: str, graph: str) -> None:
    model = read(request, bundle, graph)
    info = open_bundle(request.getfixturevalue(bundle)).manifest.graphs[graph]
    for found, known in ((model.graph.input, info.inputs), (model.graph.output, info.outputs)):
        shapes = {value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim) for value in found}
        assert shapes == {name: shape for name, (_, shape) in known.items()}


def test_the_sizes_in_the_manifest(tiny_bundle: Path, tiny_vit_bundle: Path) -> None:
    resnet, vit = (open_bundle(path).manifest for path in (tiny_bundle, tiny_vit_bundle))
    assert resnet.graphs["image"].inputs == {"pixels": ("uint8", (1, 96, 96, 3))}
    assert resnet.graphs["image"].outputs == {"maps": ("float32", (512, 3, 3)), "embedding": ("float32", (64,))}
    assert resnet.graphs["masked"].inputs == {
        "pixels": ("uint8", (2, 96, 96, 3)),
        "which": ("int64", (32,)),
        "maps": ("float32", (32, 3, 3)),
    }
    assert vit.graphs["image"].outputs["maps"] == ("float32", (192, 4, 4))
    assert vit.graphs["saliency"].inputs["maps"] == ("float32", (36, 4, 4))


@pytest.mark.parametrize("graph", ["image", "masked"])
def test_half_precision_ends_in_one_float_tail(request: pytest.FixtureRequest, graph: str) -> None:
    """The encoder is half throughout, its pool's softmax excepted; from the embedding on everything is float."""
    model = read(request, "tiny_fp16_bundle", graph, weights=True)
    values = {name: kind.elem_type for name, kind in typed(model).items()}
    types = {node.op_type: {values[name] for name in node.output} for node in model.graph.node}
    assert types["Conv"] == types["AveragePool"] == {TensorProto.FLOAT16}
    assert types["Softmax"] == types["ReduceL2"] == types["Div"] == {TensorProto.FLOAT}
    widening = [n for n in model.graph.node if n.op_type == "Cast" and values.get(n.input[0]) == TensorProto.FLOAT16]
    feeding = {name for node in model.graph.node if node.op_type == "Softmax" for name in node.input}
    tails = [node for node in widening if not feeding & set(node.output)]
    assert len(widening) - len(tails) == 1
    assert len(tails) == (2 if graph == "image" else 1)  # the image graph also gives its maps
    if graph == "masked":
        assert types["ReduceMin"] == types["ReduceMax"] == {TensorProto.FLOAT}  # an epsilon of 1e-7 is zero in half


def references(model: ModelProto) -> Iterator[tuple[str, str, int, int]]:
    """Name, file, offset and length of every weight outside of a graph."""
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            entry = {item.key: item.value for item in tensor.external_data}
            yield tensor.name, entry["location"], int(entry["offset"]), int(entry["length"])


@pytest.mark.parametrize("bundle", BUNDLES)
def test_the_image_half_shares_its_weights_and_stores_each_once(request: pytest.FixtureRequest, bundle: str) -> None:
    folder = request.getfixturevalue(bundle)
    graphs = ["image", "masked", *(["instant"] if (folder / "instant.onnx").exists() else [])]
    both = [set(references(read(request, bundle, graph))) for graph in graphs]
    own = {entry for entries in both[2:] for entry in entries if entry[1] == "instant.onnx.weights"}
    assert not own or {"blank", "tokens"} <= {name for name, *_ in own}
    both = [entries - own for entries in both]
    spans = sorted({(offset, length) for entries in both for _, _, offset, length in entries})
    assert {file for entries in both for _, file, _, _ in entries} == {"image.onnx.weights"}
    data = (folder / "image.onnx.weights").read_bytes()
    assert all(offset + length <= start for (offset, length), (start, _) in pairwise(spans))
    contents = [hashlib.sha256(data[offset : offset + length]).digest() for offset, length in spans]
    assert len(set(contents)) == len(contents)
    assert len(data) - sum(length for _, length in spans) < 64 * len(spans)
    image, masked, *_ = ({(offset, length) for _, _, offset, length in entries} for entries in both)
    assert sum(length for _, length in image & masked) > 0.6 * len(
        data
    )  # a vision transformer's tapped blocks are there in two layouts
    assert not [offset for offset, _ in spans if offset % 64]


def test_the_encoder_has_no_batch_norm_left(tiny_bundle: Path, loaded: Any) -> None:
    names = [tensor.name for tensor in onnx.load(tiny_bundle / "image.onnx", load_external_data=False).graph.initializer]
    assert not [name for name in names if "running" in name or ".bn" in name]
    assert sum(1 for key in loaded.model.visual.state_dict() if "running_mean" in key) > 10


@pytest.mark.parametrize(
    ("align", "order"),
    [
        ("corners", "upsample-first"),
        ("centers", "upsample-first"),
        ("corners", "normalise-first"),
        ("centers", "normalise-first"),
    ],
)
def test_masks_in_the_graph_are_those_of_the_engine(align: Any, order: Any) -> None:
    import torch

    from engine.manifest import MaskInfo
    from export.graphs import MaskedGraph, Pixels

    maps = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
    maps[2] = 0  # what fills a batch up: no mask at all
    pixels = Pixels((0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    encoder: Any = torch.nn.Identity()
    graph = MaskedGraph(pixels, encoder, torch.float32, (32, 3, 5), MaskInfo(align, order, 1e-7))
    found = graph.masks(torch.from_numpy(maps)).numpy()
    np.testing.assert_allclose(found, masks(maps, 32, align, order), atol=2e-6)
    assert not found[2].any()


def saliency_by_hand(values: dict[str, Any], tau: float, combine: float, contrast: float) -> tuple[Any, Any]:
    """The saliency of every text, in double precision and one step at a time."""
    wide = {name: value.astype(np.float64) for name, value in values.items()}
    maps, scores = wide["maps"], wide["texts"] @ (wide["embeddings"] - wide["base"]).T
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    scaled = (maps - low) / (high - low + 1e-7)
    summed = scaled if combine else maps
    rows = []
    for row in scores:
        weights = np.where(row > 0, np.exp(row / tau - row.max() / tau), 0)
        saliency = np.maximum(np.tensordot(weights / max(weights.sum(), 1e-300), summed, 1), 0)
        common = scaled.mean(axis=0)
        rows.append(np.maximum(saliency - contrast * saliency.sum() / (common.sum() + 1e-7) * common, 0))
    return scores, np.stack(rows)


@pytest.mark.parametrize("combine", [0.0, 1.0])
@pytest.mark.parametrize("contrast", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("tau", [0.01, 1.0])
def test_the_saliency_graph_by_hand(tiny_vit_bundle: Path, combine: float, contrast: float, tau: float) -> None:
    manifest: Manifest = open_bundle(tiny_vit_bundle).manifest
    rng = np.random.default_rng(1)
    values = {
        name: rng.normal(size=shape).astype(np.float32)
        for name, (_, shape) in manifest.graphs["saliency"].inputs.items()
        if len(shape) > 0
    }
    values["embeddings"] /= 20
    values["base"] /= 20
    values["texts"] /= np.linalg.norm(values["texts"], axis=1, keepdims=True)
    values["texts"][3] = 0  # nothing is above the base
    switches = {"temperature": tau, "combine": combine, "contrast": contrast}
    session = OnnxCpuBackend(1).open(tiny_vit_bundle / "saliency.onnx")
    outputs = session.run({**values, **{name: np.asarray(value, np.float32) for name, value in switches.items()}})
    scores, saliency = saliency_by_hand(values, tau, combine, contrast)
    np.testing.assert_allclose(outputs["scores"], scores, atol=1e-5)
    np.testing.assert_allclose(outputs["saliency"], saliency, atol=1e-4 * saliency.max())
    assert not outputs["saliency"][3].any()


@pytest.mark.slow
@pytest.mark.parametrize("maps", ["key-pca", "qkv-pca", "query", "qkv", "token", "attention"])
def test_every_map_source_builds_and_keeps_the_contract(make_bundle: MakeBundle, maps: str) -> None:
    folder = make_bundle("tiny-vit", f"tiny-vit-{maps}", map_source=maps)
    model = onnx.load(folder / "image.onnx")
    assert {node.op_type for node in model.graph.node} <= ALLOWED
    typed(model)


def test_a_tower_that_looks_ahead_is_not_shortened(loaded: Loaded) -> None:
    tower = copy.copy(loaded.model)
    tower.text_pool_type = "last"
    assert looks_back_only(loaded.model)
    assert not looks_back_only(tower)
    with pytest.raises(ValueError, match="cannot be shortened"):
        TextGraph(tower, 16)


def test_a_shortened_tower_shares_its_weights_and_leaves_the_whole_one_alone(loaded: Loaded) -> None:
    short = TextGraph(loaded.model, 16).model
    assert short.token_embedding.weight is loaded.model.token_embedding.weight
    assert (len(short.positional_embedding), len(loaded.model.positional_embedding)) == (16, 77)
    assert (short.attn_mask.shape, loaded.model.attn_mask.shape) == ((16, 16), (77, 77))
