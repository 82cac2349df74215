"""CoCa's towers: built, held to open_clip's own, and asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.methods import METHODS
from export.assemble import take_apart
from export.coca import AppendedText
from export.method_graphs import look_with
from export.options import BuildOptions
from export.weights import Loaded
from runtime import Localizer, Query
from runtime.errors import ArgumentError
from tests import configs
from tests.conftest import MakeBundle, load_tiny

WORDS = "a cat"
FULL = "cat " * 74  # with both ends as many tokens as are read
LONG = "cat " * 90


@pytest.fixture(scope="module")
def bundle(workshop: Path, make_bundle: MakeBundle) -> Path:
    """A tiny CoCa of seeded weights, which passed the gate."""
    configs.write_config(workshop / "tiny-coca.json", configs.TINY_COCA)
    return make_bundle("tiny-coca", "tiny-coca")


@pytest.fixture(scope="module")
def loaded(bundle: Path, workshop: Path) -> Loaded:
    return load_tiny(workshop, "tiny-coca")


@pytest.fixture(scope="module")
def localizer(bundle: Path) -> Localizer:
    return Localizer(bundle, device="cpu", threads=2)


def test_a_picture_s_embedding_is_open_clip_s(localizer: Localizer, loaded: Loaded) -> None:
    pixels, _ = localizer.encoder.place(configs.photo("cat"))
    look = loaded.preprocessing
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (look.mean, look.std))
    with torch.no_grad():
        wanted = loaded.model.encode_image(((torch.from_numpy(pixels).permute(2, 0, 1) / 255 - mean) / std)[None])[0]
    found = localizer.model.session("image").run({"pixels": pixels[None]})["embedding"]
    np.testing.assert_allclose(found, wanted.numpy(), atol=2e-6)


@pytest.mark.filterwarnings("ignore:.*is longer than the 76 tokens")
def test_texts_are_open_clip_s_whatever_their_length(localizer: Localizer, loaded: Loaded) -> None:
    texts = [WORDS, FULL, LONG]
    found = localizer.text.embed([Query((text,)) for text in texts])
    tokens = loaded.tokenizer(texts)
    assert (tokens[1:] > 0).all()
    assert (tokens[0] > 0).sum() == 4
    with torch.no_grad():
        np.testing.assert_allclose(found, loaded.model.encode_text(tokens).numpy(), atol=2e-6)


@pytest.mark.parametrize("correct", [False, True])
def test_either_mask_of_the_class_token(loaded: Loaded, monkeypatch: pytest.MonkeyPatch, correct: bool) -> None:
    monkeypatch.setattr(loaded.model.text, "correct_cls_mask", correct)
    tokens = loaded.tokenizer([WORDS, FULL])
    with torch.no_grad():
        wanted, found = loaded.model.encode_text(tokens, normalize=False), AppendedText(loaded.model.text).encode_text(tokens)
    np.testing.assert_allclose(found.numpy(), wanted.numpy(), atol=2e-6)


def test_it_answers(localizer: Localizer) -> None:
    scene = localizer.encode(configs.photo("cat"))
    assert len(scene.maps) == 36
    assert [found.query for found in localizer.locate(scene, ["a cat", "a rocket"])] == ["a cat", "a rocket"]
    assert set(localizer.manifest.graphs) == {"image", "masked", "text", "saliency"}  # no short texts: they end with a token


def test_methods_that_project_patches_are_refused_and_the_affinity_is_not(loaded: Loaded) -> None:
    parts = take_apart(loaded, BuildOptions())
    with pytest.raises(ArgumentError, match=r"`naclip` projects patches .* pool of attention \(CoCa\)"):
        look_with(parts, METHODS["naclip"], loaded, 0)
    affinity = look_with(parts, METHODS["affinity"], loaded, 0)
    assert affinity.module is not None
    with torch.no_grad():
        (ties,) = affinity.module.eval()(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    assert ties.shape == (16, 16)
    assert torch.isfinite(ties).all()
