"""Gradients in closed form: how a change of a token, or of its attention, moves the cosine with a text. No autograd.

Vectors are rows. `forward` derivatives say where a change goes, `backward` ones where the blame comes from; products use the very
weights of the tower, transposed or not, so that a graph stores nothing twice.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from export.dense import Outputs, summed
from export.encoders import Tower, wide
from export.transformer import Block, Head


class Norm:
    """A LayerNorm linearised at tokens `(N, d)`."""

    def __init__(self, norm: Tower, tokens: Tensor) -> None:
        values = wide(tokens)
        self.weight: Tensor = wide(norm.weight)
        self.bias: Tensor = wide(norm.bias)
        centred = values - values.mean(dim=-1, keepdim=True)
        width = tokens.shape[-1]
        spare = torch.full_like(centred[..., :1], math.sqrt(width * norm.eps))
        self.spread: Tensor = torch.cat([centred, spare], dim=-1).norm(dim=-1, keepdim=True) / math.sqrt(
            width
        )  # sqrt(variance + eps)
        self.tokens: Tensor = centred / self.spread

    def forward(self, change: Tensor) -> Tensor:
        """Where changes of the tokens go."""
        return self.weight * self.straightened(wide(change))

    def backward(self, blame: Tensor) -> Tensor:
        """Blame of the normed tokens, brought to the tokens."""
        return self.straightened(self.weight * wide(blame))

    def straightened(self, rows: Tensor) -> Tensor:
        """What a norm lets through: no mean, nothing along the token itself."""
        along = (rows * self.tokens).mean(dim=-1, keepdim=True)
        left: Tensor = rows - rows.mean(dim=-1, keepdim=True) - self.tokens * along
        return left / self.spread


class Feed:
    """A block's MLP, with its norm and residual, linearised at tokens `(N, d)`."""

    def __init__(self, block: Block, tokens: Tensor) -> None:
        self.block, self.norm = block.block, Norm(block.block.ln_2, tokens)
        hidden = self.block.mlp.c_fc(self.block.ln_2(tokens))
        self.slope = slope_of(self.block.mlp.gelu, wide(hidden))

    def forward(self, change: Tensor) -> Tensor:
        """Where changes of the tokens go."""
        first, second = self.block.mlp.c_fc.weight, self.block.mlp.c_proj.weight
        hidden = self.norm.forward(change).to(first.dtype) @ first.t()
        scaled: Tensor = self.block.ls_2((hidden * self.slope.to(hidden.dtype)) @ second.t())
        return change + scaled

    def backward(self, blame: Tensor) -> Tensor:
        """Blame of what the MLP gives, brought to what it takes."""
        first, second = self.block.mlp.c_fc.weight, self.block.mlp.c_proj.weight
        hidden = self.block.ls_2(blame).to(first.dtype) @ second
        return blame + self.norm.backward((hidden * self.slope.to(hidden.dtype)) @ first)


def slope_of(activation: nn.Module, hidden: Tensor) -> Tensor:
    """The derivative of an activation: of QuickGELU, or of GELU."""
    if isinstance(activation, nn.GELU):
        half = hidden * hidden / 2
        bell = torch.sigmoid(-1 * half) / torch.sigmoid(half)  # exp(-half), whose operator graphs do without
        return (1 + torch.erf(hidden / math.sqrt(2))) / 2 + hidden * bell / math.sqrt(2 * math.pi)
    soft = torch.sigmoid(1.702 * hidden)
    return soft * (1 + 1.702 * hidden * (1 - soft))


class ClassTokenHead(nn.Module):
    """Features that say how something done to each patch would move the embedding, by way of the class token's attention.

    They are linear in the text: one picture, and every text is a product.
    """

    def __init__(self, blocks: list[Block], head: Head, gated: bool) -> None:
        """With `gated`: Grad-ECLIP; else Grad-CAM on what enters the last block's attention."""
        super().__init__()
        self.blocks: list[Block] = nn.ModuleList(blocks)  # type: ignore[assignment]
        self.head, self.gated = head, gated

    def forward(self, stream: Tensor) -> Outputs:
        """Take the stream `(1 + n, d)`; give features `(n, D)`, to be multiplied with a text, and the embedding `(D,)`."""
        for block in self.blocks[:-1]:
            stream = block(stream)
        block = self.blocks[-1]
        query, key, value = block.facets(stream)
        gathered = block.attention((query[:, :1], key, value), "qk") @ value
        middle = stream[:1] + block.out(gathered)
        last = block.fed(middle)
        embedding = wide(self.head(last))
        sent = value[:, 1:] if self.gated else self.shifted(query[:, :1], key, value)
        moved = block.block.ls_1(joined(sent) @ block.block.attn.out_proj.weight.t())
        moved = Feed(block, middle).forward(moved)
        moved = projected(Norm(self.head.norm, last).forward(moved), self.head.projection) / embedding.norm()
        features = off(moved, embedding / embedding.norm())
        if self.gated:
            features = gate(joined(query)[:1], joined(key)[1:]) * features
        return features, embedding[0]

    def shifted(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """What the class token would gather more `(T, n, d / T)` if all patches moved along one patch, for each patch."""
        block = self.blocks[-1]
        biases = block.block.attn.in_proj_bias.reshape(3, block.heads, 1, block.depth)
        attention = block.attention((query, key), "qk")  # (T, 1, 1 + n)
        share = attention[..., 1:].sum(dim=-1, keepdim=True)  # of all patches
        drawn = (key[:, 1:] - biases[1]) @ query.transpose(1, 2) * block.scale  # (T, n, 1)
        apart = (1 - share) * (attention[..., 1:] @ value[:, 1:]) - share * (attention[..., :1] @ value[:, :1])
        more: Tensor = share * (value[:, 1:] - biases[2]) + drawn * apart
        return more / (key.shape[1] - 1)


class TextSpanHead(nn.Module):
    """ClipTextSpan as features: what each patch adds to the embedding through the attention of every block."""

    def __init__(self, blocks: list[Block], head: Head) -> None:
        super().__init__()
        self.blocks: list[Block] = nn.ModuleList(blocks)  # type: ignore[assignment]
        self.head = head

    def forward(self, stream: Tensor) -> Outputs:
        """Take the stream `(1 + n, d)`; give features `(n, D)`, to be multiplied with a text, and the embedding `(D,)`."""
        given = []  # by each block
        for block in self.blocks:
            facets = block.facets(stream)
            share = block.attention((facets[0][:, :1], facets[1]), "qk").transpose(1, 2)  # (T, 1 + n, 1)
            out = block.block.attn.out_proj
            sent = joined(share * facets[2]) @ out.weight.t() + out.bias / len(stream)
            given.append(wide(block.block.ls_1(sent)))
            stream = block.after(stream, facets)
        last, parts = stream[:1], (2 * len(self.blocks) + 1) * len(stream)
        embedding, norm = wide(self.head(last)), Norm(self.head.norm, last)
        mean, total = wide(last).mean(), summed(given, mean=False)
        shifted = (total[1:] - len(self.blocks) * mean / parts) * (norm.weight / norm.spread)
        features = projected(shifted + norm.bias * (len(self.blocks) / parts), self.head.projection)
        return features / embedding.norm(), embedding[0]


def joined(heads: Tensor) -> Tensor:
    """Heads `(T, N, d / T)` side by side `(N, d)`."""
    return heads.transpose(0, 1).flatten(1)


def projected(rows: Tensor, projection: Tensor | None) -> Tensor:
    """Rows `(N, d)` in the space of words, in at least float32."""
    return wide(rows if projection is None else rows.to(projection.dtype) @ projection)


def off(rows: Tensor, direction: Tensor) -> Tensor:
    """Rows `(N, D)` without what they have along a direction `(1, D)` of length 1."""
    return rows - (rows * direction).sum(dim=-1, keepdim=True) * direction


def gate(query: Tensor, keys: Tensor) -> Tensor:
    """How much each key `(n, d)` resembles the query `(1, d)`, brought to [0, 1]: `(n, 1)`; zeros where all do alike."""
    units, direction = (wide(each) / wide(each).norm(dim=-1, keepdim=True) for each in (keys, query))
    close: Tensor = (units * direction).sum(dim=-1, keepdim=True)
    low, high = close.amin(dim=0), close.amax(dim=0)
    return (close - low) / (high - low).clamp(min=1e-12)
