"""The graph of `instant` for transformers: what each patch gives, held against the sum written out term by term."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.patches import shown_patches
from export.contract import check_contract
from export.encoders import ViTEncoder, to_half
from export.graphs import Pixels
from export.onnx_files import export_graph
from export.patches import BlankPatchGraph, PatchGraph, has_patches
from export.weights import Loaded

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
SIDE = 64


def terms(visual: Any, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By the model's own modules, one head and one token at a time: from each token `(N, d)`, all the rest `(d,)`, their sum."""
    stream = visual._embeds(pixels)
    given, rest = torch.zeros_like(stream[0]), stream[0, 0].clone()
    for block in visual.transformer.resblocks:
        attn, tokens = block.attn, block.ln_1(stream)
        _, weights = attn(tokens, tokens, tokens, need_weights=True, average_attn_weights=False)
        value_weight, value_bias = attn.in_proj_weight.chunk(3)[2], attn.in_proj_bias.chunk(3)[2]
        depth = attn.head_dim
        for token in range(tokens.shape[1]):
            value = value_weight @ tokens[0, token] + value_bias
            for head in range(attn.num_heads):
                own = slice(head * depth, (head + 1) * depth)
                given[token] += attn.out_proj.weight[:, own] @ value[own] * weights[0, head, 0, token]
        rest += attn.out_proj.bias
        middle = stream + attn(tokens, tokens, tokens, need_weights=False)[0]
        rest += block.mlp(block.ln_2(middle))[0, 0]
        stream = block(stream)
    return given, rest, stream[0, 0]


@pytest.fixture(scope="module")
def encoder(loaded_vit: Loaded) -> ViTEncoder:
    return ViTEncoder(copy.deepcopy(loaded_vit.model.visual), "query", 2).eval()


def graph_of(encoder: ViTEncoder, dtype: torch.dtype = torch.float32) -> PatchGraph:
    blank = BlankPatchGraph(encoder, dtype)(torch.zeros(1, 3, SIDE, SIDE))
    return PatchGraph(Pixels(MEAN, STD), encoder, dtype, blank).eval()


@torch.no_grad()
def test_patches_are_the_sum_written_out(encoder: ViTEncoder) -> None:
    picture = torch.randint(0, 256, (1, SIDE, SIDE, 3), dtype=torch.uint8)
    maps, embedding, patches, base = graph_of(encoder)(picture)
    visual = copy.deepcopy(encoder.visual).double()
    pixels = Pixels(MEAN, STD)(picture).double()
    given, rest, token = terms(visual, pixels)
    assert torch.allclose(given.sum(dim=0) + rest, token, atol=1e-10)
    norm, length = visual.ln_post, visual(pixels).norm()
    spread = (token.var(unbiased=False) + norm.eps).sqrt()

    def seen(part: Tensor) -> Tensor:
        """A part of the class token as the embedding shows it."""
        return ((part - part.mean(dim=-1, keepdim=True)) * norm.weight / spread) @ visual.proj / length

    whole = seen(given).sum(dim=0) + seen(rest) + norm.bias @ visual.proj / length
    assert torch.allclose(whole, embedding.double(), atol=1e-5)
    assert float(seen(given).norm(dim=-1).max()) > 0.01
    assert torch.allclose(patches.double(), seen(given)[1:], atol=1e-5)
    assert torch.allclose(maps, encoder.maps_and_embedding(pixels.float())[0][0], atol=1e-4)
    blank = visual(torch.zeros(1, 3, SIDE, SIDE).double())[0]
    assert torch.allclose(base.double(), blank / blank.norm(), atol=1e-5)


def test_what_a_mask_hides_is_taken_away() -> None:
    maps, embedding, patches = torch.rand(5, 2, 3), torch.rand(4), torch.rand(6, 4)
    maps[:, 0, 0], maps[:, 1, 2] = 0, 1
    found = shown_patches(maps.numpy(), embedding.numpy(), patches.numpy())
    wanted = embedding - patches.sum(dim=0) + maps.flatten(1) @ patches
    assert torch.allclose(torch.from_numpy(found), wanted, atol=1e-5)


def test_half_precision_keeps_the_contract(encoder: ViTEncoder) -> None:
    with torch.no_grad():
        half = graph_of(to_half(copy.deepcopy(encoder)).eval(), torch.float16)  # type: ignore[arg-type]
    picture = torch.zeros(1, SIDE, SIDE, 3, dtype=torch.uint8)
    check_contract(export_graph(half, {"pixels": picture}, ("maps", "embedding", "patches", "base")), "instant")


def test_an_embedding_that_is_no_class_token_has_none(encoder: ViTEncoder) -> None:
    assert has_patches(encoder.visual)
    other = copy.copy(encoder.visual)
    other.pool_type = "avg"
    assert not has_patches(other)
