"""Methods whose words go into the graph: the way back from texts through the last blocks, in closed form.

A picture is looked at once, up to the blocks that matter; what enters these is kept, and every question starts from there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from export.encoders import FoldedAttentionPool, ResNetEncoder, Tower, wide
from export.gradients import Feed, Norm, off, projected
from export.graphs import Pixels
from export.layers import ties_between
from export.transformer import Block, Head, unit


class StreamGraph(nn.Module):
    """A picture, once: the stream that enters the last blocks, the embedding, and what CLIP-ES needs besides."""

    def __init__(
        self, pixels: Pixels, visual: Tower, blocks: list[Block], head: Head, last: int, tied: int, dtype: torch.dtype
    ) -> None:
        """Keep what enters the `last` blocks; with `tied`, also tell which patches so many last blocks tie together."""
        super().__init__()
        self.pixels, self.visual, self.head, self.last, self.tied, self.dtype = pixels, visual, head, last, tied, dtype
        self.blocks: list[Block] = nn.ModuleList(blocks)  # type: ignore[assignment]

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Take u8 `(1, R, R, 3)`; give stream `(1 + n, d)`, embedding `(D,)`, that of patches `(D,)`, affinity `(n, n)`."""
        stream = kept = self.visual._embeds(self.pixels(pixels).to(self.dtype))[0]
        attentions = []
        for number, block in enumerate(self.blocks):
            kept = stream if number == len(self.blocks) - self.last else kept
            facets = block.facets(stream)
            if number >= len(self.blocks) - self.tied:
                attentions.append(wide(block.attention(facets, "qk")).mean(dim=0)[1:, 1:])
            stream = block.after(stream, facets)
        embeddings = wide(self.head(stream))
        found = (wide(kept), unit(embeddings[0]))
        return (*found, unit(embeddings[1:].mean(dim=0)), ties_between(attentions)) if self.tied else found


class LegradGraph(nn.Module):
    """LeGrad: how more attention to a patch, in each of the last blocks, would bring the mean of all tokens nearer to a text."""

    def __init__(self, blocks: list[Block], head: Head, grid_hw: tuple[int, int]) -> None:
        super().__init__()
        self.blocks: list[Block] = nn.ModuleList(blocks)  # type: ignore[assignment]
        self.head, self.grid_hw = head, grid_hw

    def forward(self, stream: Tensor, texts: Tensor) -> Tensor:
        """Take the stream `(1 + n, d)` that enters the last blocks and unit texts `(P, D)`; give maps `(P, h, w)`."""
        kind = self.blocks[0].block.attn.in_proj_weight.dtype
        tokens, total = stream.to(kind), torch.zeros_like(texts[:, :1])
        for block in self.blocks:
            facets = block.facets(tokens)
            middle = tokens + block.out(block.attention(facets, "qk") @ facets[2])
            tokens = block.fed(middle)
            mean = tokens.mean(dim=0, keepdim=True)
            blame = blame_of(self.head, mean, texts) / len(tokens)  # (P, d), of every token alike
            blame = Feed(block, middle).backward(blame.unsqueeze(1))  # (P, N, d)
            reward = to_heads(block, blame) @ facets[2].transpose(1, 2)  # (P, T, N, N): of attention, by query and key
            total = total + wide(reward).relu().mean(dim=1).sum(dim=1)[:, 1:] / len(tokens)
        return total.reshape(-1, *self.grid_hw)


class ClipEsGraph(nn.Module):
    """CLIP-ES: Grad-CAM on what enters the last block's attention, for the mean embedding of the patches."""

    def __init__(self, block: Block, head: Head, grid_hw: tuple[int, int]) -> None:
        super().__init__()
        self.block, self.head, self.grid_hw = block, head, grid_hw

    def forward(self, stream: Tensor, texts: Tensor) -> Tensor:
        """Take the stream `(1 + n, d)` that enters the last block and directions of texts `(P, D)`; give maps `(P, h, w)`."""
        block, attn = self.block, self.block.block.attn
        tokens = stream.to(attn.in_proj_weight.dtype)
        normed = block.block.ln_1(tokens)
        query, key, value = block.project(normed)
        attention = block.attention((query, key), "qk")
        middle = tokens + block.out(attention @ value)
        last = block.fed(middle)[1:]
        embedding = wide(self.head(last)).mean(dim=0, keepdim=True)
        length = embedding.norm()
        blame = backward_projected(self.head, off(texts, embedding / length) / length)  # (P, d)
        blame = Norm(self.head.norm, last).backward(blame.unsqueeze(1)) / len(last)  # (P, n, d)
        sent = to_heads(block, Feed(block, middle[1:]).backward(blame))  # (P, T, n, d / T)
        attention = attention[:, 1:]  # (T, n, 1 + n): of patches
        reward = sent @ value.transpose(1, 2)
        moved = attention * (reward - (attention * reward).sum(dim=-1, keepdim=True))  # (P, T, n, 1 + n)
        by_value = ((1 - attention[:, :, :1]) * sent).sum(dim=2)  # (P, T, d / T)
        by_query = (moved.sum(dim=2).unsqueeze(2) @ key).squeeze(2) * block.scale
        by_key = (moved[..., :1] * query[:, 1:]).sum(dim=2) * -block.scale
        facets = torch.cat([each.flatten(1) for each in (by_query, by_key, by_value)], dim=1)  # (P, 3 d)
        weights = facets.to(attn.in_proj_weight.dtype) @ attn.in_proj_weight / len(last)
        return wide(weights @ normed[1:].t()).relu().reshape(-1, *self.grid_hw)


class RowsGraph(nn.Module):
    """A picture on a ResNet, once: the cells of its last maps as rows, and its embedding."""

    def __init__(self, pixels: Pixels, encoder: ResNetEncoder, dtype: torch.dtype) -> None:
        super().__init__()
        self.pixels, self.encoder, self.dtype = pixels, encoder, dtype

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Take u8 `(1, R, R, 3)`; give rows `(n, C)` and the unit embedding `(D,)`."""
        maps, embedding = self.encoder.maps_and_embedding(self.pixels(pixels).to(self.dtype))
        return wide(maps[0].flatten(1).t()), unit(wide(embedding[0]))


class GradCamPlusGraph(nn.Module):
    """Grad-CAM++ on the maps that a ResNet's attention pool takes: gradients of every cell, weighted by their own powers."""

    def __init__(self, pool: FoldedAttentionPool, grid_hw: tuple[int, int]) -> None:
        super().__init__()
        self.pool, self.grid_hw = pool, grid_hw

    def forward(self, stream: Tensor, texts: Tensor) -> Tensor:
        """Take the cells' rows `(n, C)` and unit texts `(P, D)`; give maps `(P, h, w)`."""
        rows = stream.to(self.pool.position.dtype)
        slopes = self.gradients(rows, texts)  # (P, n, C)
        squares = slopes * slopes
        weighed = 2 * squares + wide(rows).sum(dim=0) * squares * slopes + 1e-6
        shares = torch.where(squares > 0, squares / weighed, 0.0)
        weights = (slopes.relu() * shares).sum(dim=1)  # (P, C)
        return (weights @ wide(rows).t()).relu().reshape(-1, *self.grid_hw)

    def gradients(self, rows: Tensor, texts: Tensor) -> Tensor:
        """How each channel of each cell moves the cosine with a text `(P, n, C)`."""
        pool, way = self.pool, way_back(self.pool, rows, texts)
        asked = (way.query @ pool.key_weight).unsqueeze(0)  # (1, H, 1, C)
        turned = way.attention.transpose(1, 2) * way.by_value + way.moved.transpose(2, 3) * wide(asked)
        each = turned.sum(dim=1)  # (P, N, C)
        return each[:, 1:] + (each[:, :1] + way.by_query) / len(rows)


class ChannelsGraph(nn.Module):
    """What gScoreCAM ranks maps by: how each channel, changed alike in all cells, moves the cosine with a text.

    What goes through the keys cancels out: attention adds up to 1 however they change together.
    """

    def __init__(self, pool: FoldedAttentionPool) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, stream: Tensor, texts: Tensor) -> Tensor:
        """Take the cells' rows `(n, C)` and unit texts `(P, D)`; give mean gradients `(P, C)`."""
        way = way_back(self.pool, stream.to(self.pool.position.dtype), texts)
        return (way.by_value.sum(dim=1) + way.by_query)[:, 0] / len(stream)


class WayBack(NamedTuple):
    """From texts back to what a ResNet's attention pool takes: of all cells' values, of the one query, of each logit."""

    query: Tensor  # (H, 1, d), scaled
    attention: Tensor  # (H, 1, N)
    moved: Tensor  # (P, H, 1, N): of logits
    by_value: Tensor  # (P, H, 1, C): of a token that had all of a head's attention
    by_query: Tensor  # (P, 1, C): of the token that asks


def way_back(pool: FoldedAttentionPool, rows: Tensor, texts: Tensor) -> WayBack:
    """Go from unit texts `(P, D)` back to the tokens of the cells' rows `(n, C)`."""
    tokens = torch.cat([rows.mean(dim=0, keepdim=True), rows]) + pool.position
    query = tokens[:1] @ pool.query_weight + pool.query_bias
    keys = tokens @ pool.key_weight.transpose(1, 2)  # without their bias, which moves nothing
    values = tokens @ pool.value_weight + pool.value_bias  # (H, N, d)
    attention = wide(query @ keys.transpose(1, 2)).softmax(dim=-1)
    embedding = wide(pool.attend(tokens.unsqueeze(0)))
    length = embedding.norm()
    blame = (off(texts, embedding / length) / length).to(pool.out_weight.dtype) @ pool.out_weight.t()  # (P, C)
    sent = blame.reshape(len(texts), len(keys), 1, -1)  # (P, H, 1, d)
    reward = wide(sent @ values.transpose(1, 2))  # (P, H, 1, N)
    moved = attention * (reward - (attention * reward).sum(dim=-1, keepdim=True))
    by_value = wide((pool.value_weight @ sent.transpose(2, 3)).transpose(2, 3))
    by_query = (wide(moved.to(keys.dtype) @ keys) @ wide(pool.query_weight).transpose(1, 2)).sum(dim=1)
    return WayBack(query, attention, moved, by_value, by_query)


def blame_of(head: Head, token: Tensor, texts: Tensor) -> Tensor:
    """How a token `(1, d)` that is normed and projected moves its cosine with texts `(P, D)`: `(P, d)`."""
    embedding = wide(head(token))
    length = embedding.norm()
    return Norm(head.norm, token).backward(backward_projected(head, off(texts, embedding / length) / length))


def backward_projected(head: Head, blame: Tensor) -> Tensor:
    """Blame of an embedding `(P, D)` brought before the projection `(P, d)`."""
    return blame if head.projection is None else projected(blame, head.projection.t())


def to_heads(block: Block, blame: Tensor) -> Tensor:
    """Blame of what attention adds `(P, N, d)`, brought to what each head gathers `(P, T, N, d / T)`."""
    weight = block.block.attn.out_proj.weight
    sent: Tensor = block.block.ls_1(blame).to(weight.dtype) @ weight
    return sent.reshape(*sent.shape[:2], block.heads, block.depth).transpose(1, 2)
