"""From pixels to boxes: the runtime against the oracle, on every switch of the method and every shape of picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.spec import DEFAULT, PAPER, Spec
from export.weights import Loaded
from runtime import Localizer
from tests import oracle
from tests.configs import photo
from tests.parity.compare import both

VARIANTS = {
    "default": DEFAULT,
    "paper": PAPER,
    "crop": DEFAULT.replace(geometry="crop"),
    "letterbox": DEFAULT.replace(geometry="letterbox", resize="mirror"),
    "masks": DEFAULT.replace(combine="masks", temperature=0.2, threshold=0.4),
    "contrast": DEFAULT.replace(combine="masks", contrast=1.0, threshold=0.4),
    "black": DEFAULT.replace(base="black", connectivity=8, order="raster", min_area=0.0),
}
QUICK = ("default", "paper", "contrast")  # a ResNet's 512 passes are slow in the oracle
BAKED = {
    "centers": DEFAULT.replace(mask_align="centers"),
    "normalise-first": DEFAULT.replace(mask_order="normalise-first"),
}


@pytest.mark.parametrize(
    "spec", [pytest.param(spec, id=name, marks=() if name in QUICK else pytest.mark.slow) for name, spec in VARIANTS.items()]
)
def test_every_switch_on_a_resnet(tiny_bundle: Path, loaded: Loaded, spec: Spec) -> None:
    both(Localizer(tiny_bundle, spec=spec), loaded, photo("rocket")).check()


@pytest.mark.parametrize("spec", VARIANTS.values(), ids=VARIANTS)
def test_every_switch_on_a_vision_transformer(tiny_vit_bundle: Path, loaded_vit: Loaded, spec: Spec) -> None:
    both(Localizer(tiny_vit_bundle, spec=spec), loaded_vit, photo("coffee")).check()


@pytest.mark.parametrize(
    ("source", "blocks", "components"),
    [("attention", 3, 0), ("qkv-pca", 2, 4), pytest.param("token", 1, 0, marks=pytest.mark.slow), ("qkv", 1, 0)],
)
def test_every_source_of_a_transformer_s_maps(
    make_bundle: Callable[..., Path], loaded_vit: Loaded, source: str, blocks: int, components: int
) -> None:
    name = f"tiny-vit-way-{source}"
    kept = {"components": components} if components else {}
    bundle = make_bundle("tiny-vit", name, map_source=source, blocks=blocks, **kept)

    def read(model: Any, x: torch.Tensor) -> torch.Tensor:
        return oracle.vit_maps(model, x, range(1, blocks + 1), source.removesuffix("-pca"), components)

    for combine in ("raw", "masks"):
        localizer = Localizer(bundle, spec=DEFAULT.replace(combine=combine))
        both(localizer, loaded_vit, photo("astronaut"), read=read).check()


@pytest.mark.parametrize("spec", BAKED.values(), ids=BAKED)
def test_the_masks_that_are_baked_in(make_bundle: Callable[..., Path], loaded_vit: Loaded, spec: Spec) -> None:
    bundle = make_bundle("tiny-vit", f"tiny-vit-{spec.mask_align}-{spec.mask_order}", spec=spec)
    both(Localizer(bundle, spec=spec), loaded_vit, photo("cat")).check()


@pytest.mark.parametrize("spec", [DEFAULT, PAPER], ids=["default", "paper"])
def test_float32_against_float64(tiny_bundle: Path, loaded: Loaded, spec: Spec) -> None:
    both(Localizer(tiny_bundle, spec=spec), loaded, photo("cat"), "a dog", torch.float64).check()


@pytest.mark.parametrize("geometry", ["crop", "squash", "letterbox", "stretch"])
@pytest.mark.parametrize("shape_hw", [(1, 1), (1, 90), (90, 1), (40, 130), (131, 39), (97, 97)], ids=str)
def test_every_shape_of_picture(
    tiny_vit_localizer: Localizer, loaded_vit: Loaded, geometry: str, shape_hw: tuple[int, int]
) -> None:
    height, width = shape_hw
    rng = np.random.default_rng(height * 1000 + width)
    coarse = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    picture = np.ascontiguousarray(np.kron(coarse, np.ones((16, 16, 1), dtype=np.uint8))[:height, :width])
    localizer = Localizer(tiny_vit_localizer.bundle.folder, spec=DEFAULT.replace(geometry=geometry))
    both(localizer, loaded_vit, picture).check()


def test_a_picture_of_one_colour(tiny_localizer: Localizer, loaded: Loaded) -> None:
    both(tiny_localizer, loaded, np.full((50, 70, 3), 128, dtype=np.uint8)).check()


@pytest.mark.parametrize("batch", [1, 7, 512])
def test_every_batch_size_gives_the_same(make_bundle: Callable[..., Path], tiny_localizer: Localizer, batch: int) -> None:
    picture = photo("astronaut")
    other = Localizer(make_bundle("tiny-rn", f"tiny-by-{batch}", batch=batch)).encode(picture)
    np.testing.assert_allclose(other.embeddings, tiny_localizer.encode(picture).embeddings, atol=1e-6)


def test_half_precision_keeps_the_answer(tiny_fp16_bundle: Path, loaded: Loaded) -> None:
    found = both(Localizer(tiny_fp16_bundle), loaded, photo("cat"))
    # A few maps are so nearly constant that half precision's noise, scaled up to [0, 1], is a mask of its own.
    assert np.quantile(np.abs(found.scores - found.wanted_scores), 0.98) < 2e-3
    assert ((found.scores > 0) != (found.wanted_scores > 0)).mean() < 0.02
    assert found.wanted.grid is not None
    assert np.corrcoef(found.found.map.ravel(), found.wanted.grid.numpy().ravel())[0, 1] > 0.98
