"""The graph of `instant`: the attention pool over blended maps, exactly, from one pass."""

from __future__ import annotations

import pytest
import torch

from export.encoders import ResNetEncoder
from export.graphs import Pixels, min_max
from export.instant import BlankGraph, InstantGraph, pooled, rows_of
from export.weights import Loaded

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


@pytest.fixture
def encoder(loaded: Loaded) -> ResNetEncoder:
    return ResNetEncoder(loaded.model.visual).eval()


def side_of(loaded: Loaded) -> int:
    size = loaded.model.visual.image_size
    return size if isinstance(size, int) else int(size[0])


@torch.no_grad()
def test_projected_once_or_per_mask_is_the_same(loaded: Loaded, encoder: ResNetEncoder) -> None:
    side = side_of(loaded)
    maps = encoder.maps_and_embedding(torch.randn(1, 3, side, side))[0][0]
    blank = encoder.maps_and_embedding(torch.zeros(1, 3, side, side))[0][0]
    masks = torch.rand(9, *maps.shape[1:])
    wanted = loaded.model.visual.attnpool(blank + masks[:, None] * (maps - blank))
    _, tokens = BlankGraph(encoder, torch.float32)(torch.zeros(1, 3, side, side))
    found = pooled(encoder.pool, tokens, rows_of(maps) - rows_of(blank), masks.flatten(1))
    assert torch.allclose(found, wanted, atol=1e-4 * float(wanted.abs().max()))


@torch.no_grad()
def test_its_ends_are_the_picture_and_the_blank_one(loaded: Loaded, encoder: ResNetEncoder) -> None:
    side = side_of(loaded)
    nothing = BlankGraph(encoder, torch.float32)(torch.zeros(1, 3, side, side))
    graph = InstantGraph(Pixels(MEAN, STD), encoder, torch.float32, 1e-7, nothing).eval()
    pixels = torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8)
    maps, embedding, embeddings, base = graph(pixels)
    assert embeddings.shape == (len(maps), len(embedding))
    whole = pooled(encoder.pool, graph.tokens, rows_of(maps) - graph.blank, torch.ones(1, maps[0].numel()))[0]
    assert float(torch.cosine_similarity(whole, embedding, dim=0)) > 1 - 1e-5
    blank = encoder(torch.zeros(1, 3, side, side))[0]
    assert float(torch.cosine_similarity(blank, base, dim=0)) > 1 - 1e-5
    assert torch.allclose(embeddings.norm(dim=1), torch.ones(len(maps)), atol=1e-5)
    row = int(min_max(maps, 1e-7).flatten(1).sum(dim=1).argmax())
    assert float(embeddings[row] @ embedding) > float(embeddings[row] @ base)
