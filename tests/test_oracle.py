"""The oracle against golden numbers worked out by hand, scikit-image, and tiny random models."""

from __future__ import annotations

from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch import Tensor

from tests import oracle
from tests.oracle import OracleSpec

PAPER = OracleSpec(name="paper", geometry="stretch", score_space="cosine", resize="mirror", order="raster")
PROBES = [0, 8, 16, 100, 215, 223]
AT_PROBES = {
    "corners": [0, 0.215247, 0.430493, 2.690583, 5.784753, 6],
    "centers": [0, 0, 0.015625, 2.640625, 6, 6],
    "mirror": [0.484375, 0.234375, 0.015625, 2.640625, 5.765625, 5.515625],
}
RAMP = torch.arange(7, dtype=torch.float64)
TOY = torch.tensor([[[0, 1], [2, 4]], [[3, 0], [0, 0]], [[0, 0], [0, 2]]], dtype=torch.float64)
TOY_SCORES = torch.tensor([0.25, 0.20, 0.30], dtype=torch.float64)


def tiny(vision: dict[str, Any]) -> Any:
    """A small random model with the text side of CLIP."""
    torch.manual_seed(7)
    text = {"width": 64, "heads": 2, "layers": 2, "context_length": 77, "vocab_size": 49408}
    return open_clip.CLIP(embed_dim=32, vision_cfg={"image_size": 64, **vision}, text_cfg=text).eval()


@pytest.fixture(scope="module")
def resnet() -> Any:
    return tiny({"layers": [1, 1, 1, 1], "width": 16})


@pytest.fixture(scope="module")
def vit() -> Any:
    return tiny({"layers": 4, "width": 64, "head_width": 32, "patch_size": 16})


@pytest.fixture(scope="module")
def picture() -> oracle.Array:
    smooth = np.random.default_rng(3).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return np.kron(smooth, np.ones((10, 12, 1), dtype=np.uint8))


def toy(spec: OracleSpec) -> oracle.Array:
    grid = oracle.saliency(TOY, TOY_SCORES, 0.20, spec, 100.0)
    assert grid is not None
    return grid.numpy()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (OracleSpec(score_space="cosine"), [[0, 0.1638661], [0.3277323, 1]]),
        (OracleSpec(score_space="cosine", temperature=0.01), [[0, 0.0033242], [0.0066485, 1]]),
        (OracleSpec(score_space="logit"), [[0, 0.0033242], [0.0066485, 1]]),
        # masks: A1/4 and A3/2, weighted .4875026 and .5124974, both 1 in the last corner
        (OracleSpec(score_space="cosine", combine="masks"), [[0, 0.1218756], [0.2437513, 1]]),
    ],
)
def test_toy_saliency(spec: OracleSpec, expected: list[list[float]]) -> None:
    np.testing.assert_allclose(toy(spec), expected, atol=3e-7)


def test_toy_contrast() -> None:
    raw = np.array([[0, 0.4875026], [0.9750052, 2.9750052]])
    average = np.array([[1, 0.25], [0.5, 2]]) / 3
    left = np.maximum(raw - 0.5 * raw.sum() / average.sum() * average, 0)
    expected = (left - left.min()) / (left.max() - left.min())
    np.testing.assert_allclose(toy(OracleSpec(score_space="cosine", contrast=0.5)), expected, atol=3e-7)


def test_cap_is_strict_and_skips_constant_maps() -> None:
    flat = torch.full((1, 2, 2), 5.0, dtype=torch.float64)
    more, s = torch.cat([TOY, flat]), torch.cat([TOY_SCORES, torch.tensor([0.9])])
    with_flat = oracle.saliency(more, s, 0.2, OracleSpec(), 100.0)
    assert with_flat is not None
    np.testing.assert_array_equal(with_flat, toy(OracleSpec()))
    assert oracle.saliency(TOY, TOY_SCORES, 0.30, OracleSpec(), 100.0) is None
    assert oracle.saliency(flat, torch.tensor([0.9]), 0.2, OracleSpec(), 100.0) is None
    with pytest.raises(ValueError, match="not a number"):
        oracle.saliency(TOY, TOY_SCORES * float("nan"), 0.2, OracleSpec(), 100.0)


@pytest.mark.parametrize("align", ["corners", "centers"])
@pytest.mark.parametrize("order", ["upsample-first", "normalise-first"])
def test_mask_of_a_ramp(align: str, order: str) -> None:
    mask = oracle.mask(RAMP.repeat(7, 1), 224, OracleSpec(mask_align=align, mask_order=order))
    np.testing.assert_allclose(mask[90, PROBES] * 6, AT_PROBES[align], atol=1e-6)


@pytest.mark.parametrize(("resize", "golden"), [("clamp", "centers"), ("mirror", "mirror")])
def test_resize_of_a_ramp(resize: str, golden: str) -> None:
    spec = OracleSpec(resize=resize)
    across = oracle.to_picture(RAMP.repeat(7, 1), (10, 224), 224, spec)
    down = oracle.to_picture(RAMP.repeat(7, 1).T, (224, 10), 224, spec)
    np.testing.assert_allclose(across[4, PROBES], AT_PROBES[golden], atol=1e-6)
    np.testing.assert_allclose(down.T, across, atol=1e-12)


@pytest.mark.parametrize(("resize", "mode"), [("clamp", "edge"), ("mirror", "reflect")])
def test_resize_matches_scikit_image(resize: str, mode: str) -> None:
    transform = pytest.importorskip("skimage.transform")
    grid = np.random.default_rng(0).random((7, 7))
    expected = transform.resize(grid, (61, 93), order=1, mode=mode)
    found = oracle.to_picture(grid, (61, 93), 224, OracleSpec(geometry="stretch", resize=resize))
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize(
    ("wh", "side", "resized_wh", "left_top", "window"),
    [
        ((500, 375), 224, (298, 224), (37, 0), (62.081, 437.919)),
        ((500, 333), 224, (336, 224), (56, 0), (83.333, 416.667)),
        ((640, 480), 288, (384, 288), (48, 0), (80, 560)),
        ((300, 450), 384, (384, 576), (0, 96), (75, 375)),
        ((256, 256), 224, (224, 224), (0, 0), (0, 256)),
    ],
)
def test_crop_window(
    wh: tuple[int, ...],
    side: int,
    resized_wh: tuple[int, ...],
    left_top: tuple[int, ...],
    window: tuple[float, ...],
) -> None:
    assert oracle.place(wh[::-1], side, "crop") == (resized_wh[::-1], left_top[::-1])
    long = int(np.argmax(wh))
    edges = (np.array([0, side]) + left_top[long]) * wh[long] / resized_wh[long]
    np.testing.assert_allclose(edges, window, atol=5e-4)
    heat = oracle.to_picture(np.ones((7, 7)), wh[::-1], side, OracleSpec(geometry="crop"))
    seen = np.flatnonzero(heat.max(axis=long))
    assert [seen[0], seen[-1]] == [np.ceil(window[0] - 0.5), np.ceil(window[1] - 0.5) - 1]


@pytest.mark.parametrize("picture_hw", [(300, 500), (301, 97), (1, 40)])
@pytest.mark.parametrize("geometry", ["crop", "squash", "letterbox", "stretch"])
def test_placement_is_consistent(geometry: str, picture_hw: tuple[int, int]) -> None:
    pixels = oracle.preprocess(np.full((*picture_hw, 3), 200, dtype=np.uint8), 64, geometry)
    heat = oracle.to_picture(np.ones((7, 7)), picture_hw, 64, OracleSpec(geometry=geometry))
    assert (pixels.shape, heat.shape) == ((64, 64, 3), picture_hw)
    if geometry == "letterbox":
        resized, (top, left) = oracle.place(picture_hw, 64, geometry)
        assert max(resized) == 64
        inner = pixels[-top : resized[0] - top, -left : resized[1] - left]
        assert (inner == 200).all()
        assert (pixels == 200).all(axis=2).sum() == resized[0] * resized[1]
        assert tuple(pixels[-1, -1]) == (123, 117, 104)
    else:
        assert (pixels == 200).all()
    if geometry != "crop":
        np.testing.assert_allclose(heat, 1)


def test_boxes_of_diagonal_pixels() -> None:
    heat = np.diag([1.0, 0.9])
    assert oracle.boxes(heat, OracleSpec())[0].tolist() == [[0, 0, 1, 1], [1, 1, 2, 2]]
    xyxy, means = oracle.boxes(heat, OracleSpec(connectivity=8))
    assert xyxy.tolist() == [[0, 0, 2, 2]]
    assert means[0] == pytest.approx(0.95)


def test_boxes_of_a_ring_and_a_rectangle() -> None:
    heat = np.zeros((20, 20))
    heat[3:17, 3:17] = 1
    heat[7:12, 7:12] = 0
    assert oracle.boxes(heat, OracleSpec())[0].tolist() == [[3, 3, 17, 17]]
    heat = np.zeros((6, 6))
    heat[1:3, 2:4] = 1
    assert oracle.boxes(heat, OracleSpec())[0].tolist() == [[2, 1, 4, 3]]


def test_boxes_order_area_and_strictness() -> None:
    heat = np.zeros((10, 100))
    heat[0, 0] = 1.0  # exactly a thousandth of the picture: too small
    heat[2, 0:3] = 0.7
    heat[5, 5:9] = 0.9
    heat[8, 5:9] = 0.6  # exactly the threshold
    raster, _ = oracle.boxes(heat, PAPER)
    best, means = oracle.boxes(heat, OracleSpec())
    assert raster.tolist() == [[0, 2, 3, 3], [5, 5, 9, 6]]
    assert best.tolist() == raster[::-1].tolist()
    np.testing.assert_allclose(means, [0.9, 0.7], atol=1e-6)
    assert oracle.boxes(np.zeros((4, 4)), PAPER)[0].shape == (0, 4)


def test_principal_maps_agree_with_the_gram_matrix() -> None:
    z = torch.randn(9, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    z[:, 4] = z[:, 0] + z[:, 1]
    out = oracle.principal(z, 6)
    centred = z - z.mean(dim=0)
    values = torch.linalg.eigvalsh(centred @ centred.T).flip(0)
    np.testing.assert_allclose(out @ out.T, centred @ centred.T, atol=1e-12)
    np.testing.assert_allclose((out * out).sum(dim=0)[:4], values[:4], atol=1e-12)
    assert not out[:, 4:].any()
    peaks = out.abs().argmax(dim=0)
    assert (out[peaks, torch.arange(6)][:4] > 0).all()


def present_query(model: Any, picture: oracle.Array, spec: OracleSpec) -> Tensor:
    """A text embedding that points from the base picture to the picture."""
    seen = oracle.locate(model, picture, torch.ones(32), spec, dtype=torch.float64, batch=32)
    pair = torch.nn.functional.normalize(torch.stack([seen.embedding, seen.base]), dim=1)
    return pair[0] - pair[1]


LETTERBOX = OracleSpec(geometry="letterbox", base="black")


@pytest.mark.parametrize(
    "spec", [PAPER, pytest.param(OracleSpec(), marks=pytest.mark.slow), pytest.param(LETTERBOX, marks=pytest.mark.slow)]
)
def test_resnet_end_to_end(resnet: Any, picture: oracle.Array, spec: OracleSpec) -> None:
    text = present_query(resnet, picture, spec)
    found = oracle.locate(resnet, picture, text, spec, dtype=torch.float64)
    grouped = oracle.locate(resnet, picture, text, spec, dtype=torch.float64, batch=32)
    single = oracle.locate(resnet, picture, text, spec, batch=32)
    assert (found.maps.shape, found.embeddings.shape) == ((512, 2, 2), (512, 32))
    assert (found.maps >= 0).all()
    assert found.grid is not None
    assert found.saliency.shape == picture.shape[:2]
    assert found.saliency.max() <= 1
    assert len(found.xyxy) == len(found.box_scores) > 0
    np.testing.assert_allclose(grouped.scores, found.scores, atol=1e-12)
    np.testing.assert_allclose(single.scores, found.scores, atol=1e-5)
    assert next(resnet.parameters()).dtype == torch.float32


def test_one_masked_score_by_hand(resnet: Any, picture: oracle.Array) -> None:
    text = resnet.encode_text(open_clip.tokenize(["an image of a fish."]))[0].detach()
    found = oracle.locate(resnet, picture, text, OracleSpec(), batch=32)
    k = int(oracle.live(found.maps).nonzero()[0])
    a = found.maps[k]
    t = torch.linspace(0, 1, 64)  # a 2 x 2 map spans the square corner to corner
    rows = a[0] * (1 - t[:, None]) + a[1] * t[:, None]
    large = rows[:, :1] * (1 - t) + rows[:, 1:] * t
    x = torch.tensor((found.pixels / 255 - oracle.MEAN) / oracle.STD, dtype=torch.float32).permute(2, 0, 1)
    with torch.no_grad():
        e = resnet.encode_image((x * (large - large.min()) / (large.max() - large.min()))[None])[0]
    assert float(found.scores[k]) == pytest.approx(float(torch.cosine_similarity(e, text, dim=0)), abs=1e-5)


def test_base_query_is_not_present(resnet: Any, picture: oracle.Array) -> None:
    base = oracle.locate(resnet, picture, torch.ones(32), OracleSpec(), dtype=torch.float64, batch=32).base
    found = oracle.locate(resnet, picture, base, OracleSpec(), dtype=torch.float64, batch=32)
    assert found.base_score == pytest.approx(1)
    assert found.grid is None
    assert not found.saliency.any()
    assert len(found.xyxy) == 0


def test_vit_end_to_end(vit: Any, picture: oracle.Array) -> None:
    spec = OracleSpec(combine="masks")
    found = oracle.locate(vit, picture, present_query(vit, picture, spec), spec, dtype=torch.float64)
    assert found.maps.shape == (48, 4, 4)
    assert found.grid is not None
    np.testing.assert_allclose(found.maps.sum(dim=(1, 2)), 0, atol=1e-10)


def test_vit_queries_by_hand(vit: Any, picture: oracle.Array) -> None:
    model = oracle.in_dtype(vit, torch.float64)
    x = oracle.to_tensor(oracle.preprocess(picture, 64, "squash"), oracle.MEAN, oracle.STD, torch.float64)
    block = model.visual.transformer.resblocks[0]
    with torch.no_grad():
        y = block.ln_1(oracle.tap(model, model.visual.ln_pre, x))[0, 1:]
    for part, facet in enumerate(("query", "key", "value")):
        rows = slice(64 * part, 64 * (part + 1))
        z = (y @ block.attn.in_proj_weight[rows].T + block.attn.in_proj_bias[rows]).detach()
        z = z - z.mean(dim=0)
        maps = oracle.vit_maps(model, x, blocks=(1,), facet=facet, components=15).reshape(15, 16)
        np.testing.assert_allclose(maps.T @ maps, z @ z.T, atol=1e-10)
