"""Bundles in eight bits: what is quantised and what is not, what it is calibrated on, and what both backends make of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from export import build, calibration, gate, quantise, timing
from export.options import PICTURES, BuildOptions, calibration_pictures, inputs_hash
from export.quantise import float_again, inner_nodes, weights_of
from export.sources import find_source
from runtime import Localizer
from runtime.bundles import open_bundle
from runtime.errors import ArgumentError
from tests.configs import photo
from tests.conftest import MakeBundle, tiny_backbone
from tests.export.test_gate import PERFECT

FAST = {"openvino": {"fp32": 10.0, "int8": 20.0}, "cpu": {"fp32": 12.0, "int8": 8.0}}


@pytest.fixture(scope="module")
def int8_bundle(make_bundle: MakeBundle) -> Path:
    """The tiny ResNet in eight bits; whether that is faster is not asked here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "compare_speeds", lambda *_: FAST)
        return make_bundle("tiny-rn", "tiny-int8", precision="int8")


def ops(folder: Path, graph: str) -> list[str]:
    return [node.op_type for node in onnx.load(folder / f"{graph}.onnx", load_external_data=False).graph.node]


def test_only_the_masked_graphs_inner_convolutions_are_quantised(int8_bundle: Path) -> None:
    model = onnx.load(int8_bundle / "masked.onnx", load_external_data=False)
    makers = {output: node for node in model.graph.node for output in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    fed = [makers[node.input[0]].op_type for node in convolutions]
    assert fed[: quantise.STEM].count("DequantizeLinear") == 0
    assert set(fed[quantise.STEM :]) == {"DequantizeLinear"}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in convolutions[quantise.STEM :]:
        scaled = makers[node.input[1]]
        assert weights[scaled.input[0]].data_type == onnx.TensorProto.INT8
        assert weights
        assert list(weights[scaled.input[1]].dims) == [weights[scaled.input[0]].dims[0]]
        assert makers[makers[node.input[0]].input[0]].op_type == "QuantizeLinear"
    for graph in ("image", "text", "saliency"):
        assert "QuantizeLinear" not in ops(int8_bundle, graph)


def test_the_manifest_says_so(int8_bundle: Path, tiny_bundle: Path) -> None:
    manifest, usual = open_bundle(int8_bundle).manifest, open_bundle(tiny_bundle).manifest
    assert (manifest.precision, manifest.parity["passes_per_s"]) == ("int8", FAST)
    assert manifest.files["image.onnx"] == usual.files["image.onnx"]
    assert {path.name for path in int8_bundle.iterdir()} == {*manifest.files, "manifest.json"}
    grown = manifest.files["image.onnx.weights"].bytes - usual.files["image.onnx.weights"].bytes
    assert 0 < grown < usual.files["image.onnx.weights"].bytes / 2  # what stayed float32 is stored once


@pytest.mark.parametrize("device", ["cpu", "openvino"])
def test_both_backends_run_it(int8_bundle: Path, tiny_localizer: Localizer, device: str) -> None:
    localizer = Localizer(int8_bundle, device=device, threads=2)
    assert localizer.precision == "int8"
    encoder, exact = localizer.encoder, tiny_localizer.encoder
    scene, pixels = exact.look(photo("cat"))
    assert np.allclose(scene.maps, encoder.look(photo("cat"))[0].maps, atol=1e-4)
    maps = scene.maps[scene.live][:32]
    ours, theirs = encoder.run_maps(pixels, maps), exact.run_maps(pixels, maps)
    cosines = (ours * theirs).sum(axis=1)
    assert cosines.min() > 0.95
    assert not np.allclose(ours, theirs, atol=1e-6)
    assert np.allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)


def test_transformers_keep_their_last_projection(tiny_vit_bundle: Path) -> None:
    model = onnx.load(tiny_vit_bundle / "masked.onnx")
    float_again(model)
    inner = inner_nodes(model)
    assert len(inner) == 3 * 4  # blocks; query-key-value, attention's projection, two of the perceptron
    assert not any(name in {"rows", "cols"} for node in inner for name in node.input)
    assert "embeddings" not in {output for node in inner for output in node.output}


def test_weights_are_float32_again(tiny_bundle: Path) -> None:
    model = onnx.load(tiny_bundle / "masked.onnx")
    before = {tensor.name for tensor in model.graph.initializer if tensor.name.endswith(".half")}
    float_again(model)
    names = {tensor.name: tensor for tensor in model.graph.initializer}
    assert not before & names.keys()
    assert all(name.removesuffix(".half") in names for name in before)
    assert onnx.TensorProto.FLOAT16 not in {tensor.data_type for tensor in names.values()}


def test_what_lies_in_a_weights_file_is_not_stored_again(tiny_bundle: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_bundle, tmp_path / "b"))
    shared = weights_of(folder / "image.onnx")
    size = shared.path.stat().st_size
    for tensor in onnx.load(folder / "image.onnx").graph.initializer:
        if len(tensor.raw_data) >= 1024:
            shared.place(tensor)
    assert shared.path.stat().st_size == size


def test_calibration_runs_real_passes(tiny_bundle: Path, tiny_localizer: Localizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "PASSES", 8)
    found = list(calibration.passes(open_bundle(tiny_bundle), [PICTURES / "cat.jpg", PICTURES / "rocket.jpg"]))
    assert [len(batch["maps"]) for batch in found] == [32, 32]
    assert not np.array_equal(found[0]["pixels"], found[1]["pixels"])
    blank, *others = found[0]["maps"]
    assert not blank.any()
    maps = tiny_localizer.encoder.look(photo("cat"))[0].maps
    chosen = [int(np.flatnonzero((maps == plane).all(axis=(1, 2)))[0]) for plane in others]
    assert chosen == sorted(set(chosen))
    assert chosen[-1] > 400  # spread over all maps


def test_large_batches_are_calibrated_and_compared_by_their_small_graph(make_bundle: MakeBundle, workshop: Path) -> None:
    folder = make_bundle("tiny-rn", "large-int8-symmetric", precision="int8-symmetric", batch=64)
    small = calibration.open_small(folder)
    assert (small.manifest.batch, small.graph("masked").name) == (16, "masked-small.onnx")
    assert open_bundle(folder).manifest.batch == 64
    assert ops(folder, "masked") == ops(folder, "masked-small")
    scales = [
        {tensor.name: tensor.float_data or tensor.raw_data for tensor in graph.initializer if tensor.name.endswith("_scale")}
        for graph in (onnx.load(folder / f"{name}.onnx").graph for name in ("masked", "masked-small"))
    ]
    assert scales[0] == scales[1] != {}


def test_ranges_are_the_least_and_the_most(tiny_bundle: Path, tiny_localizer: Localizer) -> None:
    model = onnx.load(tiny_bundle / "masked.onnx")
    (inputs,) = tiny_localizer.encoder.batches(np.zeros((96, 96, 3), np.uint8), np.zeros((1, 3, 3), np.float32))
    (low, high) = calibration.ranges(model, ["embeddings"], iter([inputs]))["embeddings"]
    expected = tiny_localizer.encoder.start(inputs)()["embeddings"]
    assert (low, high) == pytest.approx((expected.min(), expected.max()), abs=1e-6)


def test_calibration_pictures(tmp_path: Path) -> None:
    assert [path.stem for path in calibration_pictures(None)] == ["astronaut", "cat", "coffee", "rocket"]
    with pytest.raises(ArgumentError, match=r"`--calibrate .*` holds no picture"):
        calibration_pictures(str(tmp_path))
    for number in range(40):
        (tmp_path / f"{number:02}.PNG").write_bytes(bytes([number]))
    found = [path.stem for path in calibration_pictures(str(tmp_path))]
    assert (len(found), found[0], found[-1]) == (16, "00", "39")


def test_the_inputs_hash_follows_the_pictures(workshop: Path, tmp_path: Path) -> None:
    backbone = tiny_backbone(workshop, "tiny-rn")
    source, options = find_source(backbone, "none", None), BuildOptions(precision="int8", calibrate=str(tmp_path))
    seen = set()
    for content in (b"one", b"two"):
        (tmp_path / "a.jpg").write_bytes(content)
        seen.add(inputs_hash(backbone, source, options))
    assert len(seen) == 2


# ---- the gates


@pytest.mark.parametrize(
    ("speeds", "kept"),
    [
        (FAST, True),
        ({"cpu": {"fp32": 10.0, "int8": 10.9}}, False),
        ({"cpu": {"fp32": 10.0, "int8": 30.0}, "openvino": {"fp32": 29.0, "int8": 20.0}}, False),
    ],
)
def test_the_best_device_must_gain(speeds: Any, kept: bool) -> None:
    if kept:
        timing.check_speeds(speeds, "int8")
        return
    with pytest.raises(timing.SpeedError, match=r"not truly faster here and was not kept \(passes/s: cpu: .* after 10 in fp32"):
        timing.check_speeds(speeds, "int8")


def test_a_bundle_that_gains_nothing_is_gone(make_bundle: MakeBundle, workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "compare_speeds", lambda *_: {"cpu": {"fp32": 2.0, "int8": 1.0}})
    with pytest.raises(timing.SpeedError, match="cpu: 1 after 2 in fp32"):
        make_bundle("tiny-rn", "slow-int8", precision="int8")
    assert not [path for path in workshop.iterdir() if "slow-int8" in path.name and path.suffix != ".lock"]


def test_speeds_are_measured_on_every_device(int8_bundle: Path, tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SPEED_ROUNDS", 1)
    manifest = open_bundle(int8_bundle).manifest
    found = timing.compare_speeds(tiny_bundle / "masked.onnx", int8_bundle / "masked.onnx", manifest)
    assert found.keys() == {"cpu", "openvino"}
    assert all(one.keys() == {"fp32", "int8"} and min(one.values()) > 0 for one in found.values())


def test_eight_bits_have_their_own_tolerance() -> None:
    from dataclasses import replace

    allowed = gate.tolerance_for("int8", True, 25.0)
    assert allowed.score_error == pytest.approx(0.05)
    gate.check(replace(PERFECT, masked_cosine=0.991, score_error=0.049, box_agreement=0.4), "int8", allowed)
    for change in ({"masked_cosine": 0.98}, {"image_cosine": 0.999}, {"map_error": 0.01}, {"flips_beyond_rounding": 1}):
        with pytest.raises(gate.GateError, match=next(iter(change))):
            gate.check(replace(PERFECT, **change), "int8", allowed)
    gate.check(replace(PERFECT, masked_cosine=0.5, score_error=1.0), "int8", gate.tolerance_for("int8", False, 25.0))


def test_a_folder_without_pictures_is_refused(tmp_path: Path, workshop: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = ["--backbone", str(workshop / "tiny-rn.json"), "--pretrained", "none", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(build.app, [*model, "--precision", "int8", "--calibrate", str(tmp_path)])
    assert result.exit_code == 1
    assert "holds no picture" in " ".join((result.output + capfd.readouterr().err).split())
