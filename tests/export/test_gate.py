"""The numeric gate: what it measures, and that no sabotaged bundle gets past it."""

from __future__ import annotations

import copy
import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

from engine.spec import DEFAULT
from export import assemble, build, gate
from export.comparison import gate_pictures, spread
from export.gate import TOLERANCES, GateError, Parity, check, figures, tolerance_for
from export.noise import Noise, measure, widened
from export.options import BuildOptions
from export.reference import Reference
from export.sources import find_source
from export.weights import Loaded, state_digest
from runtime.bundles import open_bundle
from tests.configs import photo
from tests.conftest import tiny_backbone

PERFECT = Parity(
    pictures=4,
    passes=128,
    map_error=0.0,
    image_cosine=1.0,
    masked_cosine=1.0,
    text_cosine=1.0,
    score_error=0.0,
    flips=0,
    flips_beyond_rounding=0,
    saliency_error=0.0,
    box_agreement=1.0,
    score_noise=0.0,
    map_noise=0.0,
)
Sabotage = Callable[[Path], None]


def spoil_weight(graph: str, name: str, amount: float) -> Sabotage:
    """Add noise to one weight of an exported graph, in the file where it lies."""

    def spoil(folder: Path) -> None:
        tensors = onnx.load(folder / f"{graph}.onnx", load_external_data=False).graph.initializer
        tensor = next(tensor for tensor in tensors if name in tensor.name and tensor.external_data)
        place = {entry.key: entry.value for entry in tensor.external_data}
        with (folder / place["location"]).open("r+b") as file:
            file.seek(int(place["offset"]))
            values = np.frombuffer(file.read(int(place["length"])), np.float32)
            noise = np.random.default_rng(0).normal(size=values.shape) * amount * values.std()
            file.seek(int(place["offset"]))
            file.write((values + noise).astype(np.float32).tobytes())

    return spoil


def negate_output(graph: str, name: str) -> Sabotage:
    """Turn the sign of one output of an exported graph."""

    def spoil(folder: Path) -> None:
        model = onnx.load(folder / f"{graph}.onnx", load_external_data=False)
        for node in model.graph.node:
            node.output[:] = ["inner" if output == name else output for output in node.output]
            node.input[:] = ["inner" if value == name else value for value in node.input]
        model.graph.initializer.append(numpy_helper.from_array(np.float32(-1), "minus"))
        model.graph.node.append(helper.make_node("Mul", ["inner", "minus"], [name]))
        (folder / f"{graph}.onnx").write_bytes(model.SerializeToString())

    return spoil


def swap_alignment(folder: Path) -> None:
    """Put half-pixel weights where the masked graph aligns corners."""
    from engine.resample import centers, corners

    data = (folder / "image.onnx.weights").read_bytes()
    for old, new in ((corners(96, 3), centers(96, 3)), (corners(96, 3).T, centers(96, 3).T)):
        wanted = np.ascontiguousarray(old, np.float32).tobytes()
        assert wanted in data
        data = data.replace(wanted, np.ascontiguousarray(new, np.float32).tobytes())
    (folder / "image.onnx.weights").write_bytes(data)


@pytest.fixture
def build_sabotaged(workshop: Path, tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Run a whole build whose graphs are those of `tiny_bundle`, spoiled after export."""

    def run(spoil: Sabotage) -> Path:
        def write_graphs(folder: Path, *_: Any) -> Any:
            for path in tiny_bundle.glob("*.onnx*"):
                shutil.copy(path, folder)
            spoil(folder)
            return open_bundle(tiny_bundle).manifest.graphs

        monkeypatch.setattr(assemble, "write_graphs", write_graphs)
        monkeypatch.setattr(gate, "gate_pictures", lambda: [(photo("cat"), "a cat")])
        backbone = tiny_backbone(workshop, "tiny-rn")
        build.build(
            backbone, find_source(backbone, "none", None), BuildOptions(compare=8), tmp_path / "spoiled", lambda step: None
        )
        return tmp_path / "spoiled"

    return run


def test_an_honest_build_passes(build_sabotaged: Callable[..., Path]) -> None:
    """The control of the tests below."""
    open_bundle(build_sabotaged(lambda folder: None))


@pytest.mark.parametrize(
    ("spoil", "figure"),
    [
        (spoil_weight("image", "pool.key_weight", 0.5), "image_cosine"),
        (spoil_weight("image", "pool.value_weight", 0.02), "masked_cosine"),
        (spoil_weight("image", "stages.3", 0.02), "map_error"),
        (spoil_weight("text", "text_projection", 0.02), "text_cosine"),
        (negate_output("text-short", "embeddings"), "text_cosine"),
        (negate_output("text-many", "embeddings"), "text_cosine"),
        (negate_output("saliency", "scores"), "score_error"),
        (negate_output("saliency", "saliency"), "box_agreement"),
        (swap_alignment, "masked_cosine"),
    ],
    ids=[
        "pool keys",
        "pool values",
        "last stage",
        "text projection",
        "short texts",
        "many texts",
        "scores",
        "saliency",
        "mask alignment",
    ],
)
def test_sabotage_is_found_and_named(spoil: Sabotage, figure: str, build_sabotaged: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(
        GateError, match=rf"the fp32 bundle disagrees with PyTorch and was not kept: .*{figure} is .*, allowed [<>]= "
    ):
        build_sabotaged(spoil)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    ("figure", "limit", "direction"),
    [
        ("map_error", lambda t: t.map_error, 1),
        ("image_cosine", lambda t: 1 - t.cosine_gap, -1),
        ("masked_cosine", lambda t: 1 - t.cosine_gap, -1),
        ("text_cosine", lambda t: 1 - t.cosine_gap, -1),
        ("score_error", lambda t: t.score_error, 1),
        ("box_agreement", lambda t: t.box_agreement, -1),
    ],
)
def test_each_figure_has_its_limit(precision: str, figure: str, limit: Callable[..., float], direction: int) -> None:
    edge = limit(TOLERANCES[precision])
    beyond = edge + direction * 1e-6
    check(dataclasses.replace(PERFECT, **{figure: edge}), precision, tolerance_for(precision, True))
    with pytest.raises(GateError, match=re.escape(f"{figure} is {beyond:.3g}, allowed")):
        check(dataclasses.replace(PERFECT, **{figure: beyond}), precision, tolerance_for(precision, True))
    with pytest.raises(GateError, match=f"{figure} is nan"):
        check(dataclasses.replace(PERFECT, **{figure: float("nan")}), precision, tolerance_for(precision, True))


def test_flips_count_only_beyond_rounding() -> None:
    check(dataclasses.replace(PERFECT, flips=3), "fp32", tolerance_for("fp32", True))
    with pytest.raises(GateError, match="flips_beyond_rounding is 1, allowed <= 0"):
        check(dataclasses.replace(PERFECT, flips=1, flips_beyond_rounding=1), "fp32", tolerance_for("fp32", True))


def test_every_figure_that_is_off_is_named() -> None:
    with pytest.raises(GateError, match=r"map_error is 1, .*; text_cosine is 0\.5, "):
        check(dataclasses.replace(PERFECT, map_error=1.0, text_cosine=0.5), "fp32", tolerance_for("fp32", True))


def test_boxes_of_random_half_precision_models_are_told_but_not_judged() -> None:
    parity = dataclasses.replace(PERFECT, box_agreement=0.2)
    check(parity, "fp16", tolerance_for("fp16", False))
    for precision, trained in (("fp16", True), ("fp32", False), ("fp32", True)):
        with pytest.raises(GateError, match=r"box_agreement is 0\.2"):
            check(parity, precision, tolerance_for(precision, trained))


@pytest.mark.parametrize("bundle", ["tiny_bundle", "tiny_vit_bundle", "tiny_fp16_bundle"])
def test_the_figures_are_in_the_manifest(request: pytest.FixtureRequest, bundle: str) -> None:
    manifest = open_bundle(request.getfixturevalue(bundle)).manifest
    assert manifest.parity.keys() == figures(PERFECT, TOLERANCES["fp32"]).keys()
    assert manifest.parity["pictures"] == 4
    assert manifest.parity["passes"] == 4 * min(32, manifest.maps.count)
    assert isinstance(manifest.parity["map_error"], float)
    assert 0 < manifest.parity["map_error"] < TOLERANCES[manifest.precision].map_error


def test_the_gate_looks_at_the_four_pictures() -> None:
    found = list(gate_pictures())
    assert [prompt for _, prompt in found] == ["an astronaut", "a cat", "a cup of coffee", "a rocket"]
    assert all(picture.ndim == 3 and max(picture.shape) <= 512 for picture, _ in found)


@pytest.mark.parametrize(("count", "limit"), [(0, 5), (3, 5), (5, 5), (6, 5), (2048, 32)])
def test_samples_are_spread_and_distinct(count: int, limit: int) -> None:
    found = spread(list(range(count)), limit)
    assert len(set(found)) == len(found) == min(count, limit)
    assert found == sorted(found)
    if count:
        assert (found[0], found[-1]) == (0, count - 1)


def test_scores_are_allowed_a_small_multiple_of_the_models_own_noise() -> None:
    usual = tolerance_for("fp32", True)
    assert tolerance_for("fp32", True, noisy=Noise(scores=1e-7, maps=0)) == usual
    noisy = tolerance_for("fp32", True, noisy=Noise(scores=1e-5, maps=0))
    assert noisy.score_error == pytest.approx(gate.NOISE * 1e-5)
    assert noisy.saliency_error == pytest.approx(gate.NOISE * usual.saliency_error)
    assert dataclasses.replace(noisy, score_error=usual.score_error, saliency_error=usual.saliency_error) == usual
    check(dataclasses.replace(PERFECT, score_error=5e-5), "fp32", noisy)
    with pytest.raises(GateError, match=r"score_error is 0\.000101, allowed <= 8e-05"):
        check(dataclasses.replace(PERFECT, score_error=1.01e-4), "fp32", noisy)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_maps_are_allowed_a_small_multiple_of_the_models_own_noise(precision: str) -> None:
    usual = tolerance_for(precision, True)
    assert tolerance_for(precision, True, noisy=Noise(scores=0, maps=1e-4)) == usual
    noisy = tolerance_for(precision, True, noisy=Noise(scores=0, maps=2e-4))
    assert noisy == dataclasses.replace(usual, map_error=pytest.approx(gate.NOISE * 2e-4))
    check(dataclasses.replace(PERFECT, map_error=1.5e-3), precision, noisy)
    with pytest.raises(GateError, match=r"map_error is 0\.00161, allowed <= 0\.0016"):
        check(dataclasses.replace(PERFECT, map_error=1.61e-3), precision, noisy)


@pytest.mark.parametrize("model", ["loaded", "loaded_vit"])
def test_noise_is_what_float32_rounds(request: pytest.FixtureRequest, model: str) -> None:
    """Against a whole tower in float64; and the weights are afterwards what they were."""
    loaded: Loaded = request.getfixturevalue(model)
    visual = loaded.model.visual
    before = state_digest(visual)
    side = 96 if model == "loaded" else 64
    pixels = torch.randn(2, 3, side, side, dtype=torch.float64)
    with torch.no_grad():
        wanted = copy.deepcopy(visual).double()(pixels)
        with widened(visual):
            found = visual(pixels)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    assert state_digest(visual) == before


def test_a_model_of_large_numbers_that_cancel_is_noisy(loaded: Loaded, tiny_bundle: Path) -> None:
    """Its maps are the same but for rounding, which is what is measured: against a whole tower in float64."""
    pixels = np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    masks, texts = np.random.default_rng(1).random((3, 3, 3), dtype=np.float32), np.eye(2, loaded.model.visual.output_dim)
    model = copy.deepcopy(loaded.model)
    norm = model.visual.layer4[-1].bn3
    norm.running_mean += 2.0**14
    norm.bias.data += 2.0**14 * norm.weight.data / (norm.running_var + norm.eps).sqrt()
    maps = open_bundle(tiny_bundle).manifest.maps

    def of(tower: Any) -> Reference:
        return Reference(dataclasses.replace(loaded, model=tower), maps, DEFAULT)

    quiet, noisy = measure(of(loaded.model), pixels, masks, texts), measure(of(model), pixels, masks, texts)
    assert quiet.maps < 1e-5
    assert tolerance_for("fp32", True, noisy=quiet).map_error == 1e-3 < tolerance_for("fp32", True, noisy=noisy).map_error
    found, _ = of(model).picture(pixels)
    wanted, _ = of(model.double()).picture(pixels, torch.float64)
    assert noisy.maps == pytest.approx(np.abs(found - wanted).max() / wanted.max(), rel=1e-6)


def test_a_refusal_comes_before_the_other_pictures(build_sabotaged: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []
    compare = gate.compare

    def counted(*arguments: Any, passes: int, **named: Any) -> Any:
        compared.append(passes)
        return compare(*arguments, passes=passes, **named)

    monkeypatch.setattr(gate, "compare", counted)
    with pytest.raises(GateError):
        build_sabotaged(swap_alignment)
    assert compared == [gate.FEW]
