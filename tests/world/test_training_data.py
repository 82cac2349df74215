"""Training batches and loss: which text is right for which picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

from bench.training.data import LENGTH, Source, Stream, agreement, taught_tokens
from bench.training.loss import contrastive, one_way
from bench.training.models import (
    MODELS,
    build,
    embed_pictures,
    embed_tokens,
    load_weights,
    save_weights,
    side,
    tokenizer,
)
from bench.world.nouns import nouns
from export.backbones import OWN, from_file


def test_agreement() -> None:
    right, unsure = agreement([{0: 1.0, 1: 1.0}, {1: 0.3}, {2: 0.1}], [(0,), (1,), (0, 1), (2,)])
    assert right.tolist() == [[True, True, True, False], [False] * 4, [False] * 4]
    assert unsure.tolist() == [[False] * 4, [False, True, False, False], [False] * 4]


def test_batches(sprite_file: Path) -> None:
    source = Source(sprite_file, side=64, batch=4, seed=3)
    first, again = (next(iter(Stream(source))) for _ in range(2))
    texts = 4 + len(nouns())
    assert first.pixels.shape == (4, 64, 64, 3)
    assert first.tokens.shape == (texts, LENGTH)
    assert first.right.shape == first.unsure.shape == (4, texts)
    assert not (first.right & first.unsure).any()
    assert torch.equal(first.pixels, again.pixels)
    assert torch.equal(first.tokens, again.tokens)


def test_a_resumed_stream_goes_on(sprite_file: Path) -> None:
    stream = iter(Stream(Source(sprite_file, side=32, batch=2, seed=3)))
    next(stream)
    resumed = next(iter(Stream(Source(sprite_file, side=32, batch=2, seed=3, first=2))))
    assert torch.equal(next(stream).pixels, resumed.pixels)


def test_loss_is_least_where_right_pairs_score_highest() -> None:
    right = torch.eye(3, 4, dtype=torch.bool)
    right[0, 3] = True
    unsure = torch.zeros_like(right)
    good = contrastive(right.float() * 20, right, unsure)
    bad = contrastive(-right.float() * 20, right, unsure)
    assert good < 0.4 < bad
    # A picture with two right texts can at best share its probability between them.
    assert float(one_way(right.float() * 50, right)) == pytest.approx(np.log(2) / 3, abs=1e-4)


def test_unsure_pairs_do_not_count() -> None:
    right = torch.eye(2, 3, dtype=torch.bool)
    unsure = torch.zeros_like(right)
    unsure[0, 2] = True
    logits = torch.zeros(2, 3)
    raised = logits.clone()
    raised[0, 2] = 30
    assert torch.equal(contrastive(logits, right, unsure), contrastive(raised, right, unsure))


@pytest.mark.parametrize("name", MODELS)
def test_short_texts_embed_as_whole_ones(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build(name).eval()
    used = taught_tokens()
    save_weights(model.state_dict(), used, tmp_path / "model.safetensors")
    stored = load_weights(name, tmp_path / "model.safetensors")
    tokens = tokenizer()(["a dog", "dog"])
    with torch.no_grad():
        assert torch.allclose(embed_tokens(stored, tokens), stored.encode_text(tokens), atol=1e-5)
    taught = stored.token_embedding.weight.abs().sum(dim=1) > 0
    assert int(taught.sum()) == len(used)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    save_weights(build("demo-rn").state_dict(), taught_tokens(), tmp_path / "rn.safetensors")
    with pytest.raises((ValueError, RuntimeError)):
        load_weights("demo-vit", tmp_path / "rn.safetensors")


@pytest.mark.parametrize("name", MODELS)
def test_open_clip_reads_config_and_weights(name: str, tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    model = build(name).eval()
    save_weights(model.state_dict(), taught_tokens(), weights)
    config = tmp_path / f"{name}.json"
    config.write_text(json.dumps(from_file(OWN / config.name).config))
    open_clip.add_model_config(config)
    created = open_clip.create_model(name, pretrained=str(weights)).eval()
    pixels = torch.rand(1, 3, side(model), side(model))
    with torch.no_grad():
        expected = load_weights(name, weights).encode_image(pixels)
        assert torch.allclose(created.encode_image(pixels), expected, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_smaller_pictures_embed_too(name: str) -> None:
    visual = build(name).visual.eval()
    places = next(value for key, value in visual.named_parameters() if key.endswith("positional_embedding"))
    embedded = embed_pictures(visual, torch.rand(2, 3, 128, 128))
    embedded.square().sum().backward()
    assert embedded.shape == (2, 256)
    assert places.grad is not None
    assert places.grad.abs().sum() > 0
