"""The image encoders as the graphs need them: feature maps tapped, BatchNorm folded, attention pool folded.

Each encoder takes normalised pixels `(B, 3, R, R)`. `maps` is what the first pass looks at, `forward` is the
embedding `(B, D)`. Both are exact rewrites of the open_clip tower they are made from: the numeric gate of a build
compares them with that tower itself.
"""

from __future__ import annotations

import copy
from itertools import chain
from typing import Any, Protocol

import torch
from open_clip.transformer import LayerNormFp32
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

FACETS = ("query", "key", "value")
Tower = Any  # open_clip's modules: they carry no types


class Encoder(Protocol):
    """What a graph needs of an image tower."""

    def maps_and_embedding(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Give the tapped maps `(B, K, h, w)` and the embedding `(B, D)` of normalised pixels."""
        ...

    def __call__(self, pixels: Tensor) -> Tensor:
        """Give the embedding `(B, D)`, not normalised."""
        ...


class FoldedAttentionPool(nn.Module):
    """CLIP's attention pool for its one query, with the key and value projections moved off the positions.

    `q . (Wk t) = (Wk' q) . t`, so keys are never formed, and values are projected after the weighted mean instead of
    before it. The key bias adds the same amount to every logit, which softmax ignores. Exact, at 3 % of the work.
    """

    position: Tensor
    query_weight: Tensor
    query_bias: Tensor
    key_weight: Tensor
    value_weight: Tensor
    value_bias: Tensor
    out_weight: Tensor
    out_bias: Tensor

    def __init__(self, pool: Tower) -> None:
        super().__init__()
        heads, width = pool.num_heads, pool.q_proj.in_features
        depth = width // heads
        scale = depth**-0.5
        self.register_buffer("position", pool.positional_embedding.detach().clone())  # (n + 1, C)
        self.register_buffer("query_weight", per_head(pool.q_proj.weight * scale, heads).transpose(1, 2).contiguous())
        self.register_buffer("query_bias", (pool.q_proj.bias * scale).detach().view(heads, 1, depth))
        self.register_buffer("key_weight", per_head(pool.k_proj.weight, heads).contiguous())  # (H, d, C)
        self.register_buffer("value_weight", per_head(pool.v_proj.weight, heads).transpose(1, 2).contiguous())
        self.register_buffer("value_bias", pool.v_proj.bias.detach().view(heads, 1, depth))
        self.register_buffer("out_weight", pool.c_proj.weight.detach().t().contiguous())
        self.register_buffer("out_bias", pool.c_proj.bias.detach().clone())

    def forward(self, maps: Tensor) -> Tensor:
        """Pool maps `(B, C, h, w)` into embeddings `(B, D)`."""
        tokens = maps.flatten(2).transpose(1, 2)  # (B, n, C)
        return self.attend(torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1) + self.position)

    def attend(self, tokens: Tensor) -> Tensor:
        """Pool tokens `(B, 1 + n, C)`, their mean the first and positions added, into embeddings `(B, D)`."""
        first = tokens[:, 0].unsqueeze(0)  # (1, B, C)
        query = first @ self.query_weight + self.query_bias  # (H, B, d)
        folded = (query @ self.key_weight).transpose(0, 1)  # (B, H, C)
        logits = folded @ tokens.transpose(1, 2)  # (B, H, n + 1)
        attention = wide(logits).softmax(dim=-1).to(tokens.dtype)
        gathered = (attention @ tokens).transpose(0, 1)  # (H, B, C)
        values = gathered @ self.value_weight + self.value_bias  # (H, B, d)
        joined = values.transpose(0, 1).flatten(1)  # (B, C)
        return joined @ self.out_weight + self.out_bias


class ResNetEncoder(nn.Module):
    """A CLIP ResNet whose maps are the output of its last bottleneck (the closing ReLU of stage 4)."""

    def __init__(self, visual: Tower) -> None:
        super().__init__()
        trunk = fold_batch_norms(same_weights(visual))
        self.stem = nn.Sequential(trunk.conv1, trunk.act1, trunk.conv2, trunk.act2, trunk.conv3, trunk.act3, trunk.avgpool)
        self.stages = nn.Sequential(trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4)
        self.pool = FoldedAttentionPool(visual.attnpool)

    def maps_and_embedding(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Give the closing ReLU's maps `(B, C, h, w)` and the embedding `(B, D)`."""
        maps: Tensor = self.stages(self.stem(pixels))
        return maps, self.pool(maps)

    def forward(self, pixels: Tensor) -> Tensor:
        """Give the embedding `(B, D)`, not normalised."""
        return self.maps_and_embedding(pixels)[1]


class ViTEncoder(nn.Module):
    """A CLIP vision transformer whose maps are read inside its first blocks: tokens, attention or query/key/value."""

    def __init__(self, visual: Tower, source: str, blocks: int) -> None:
        super().__init__()
        self.visual = visual
        self.source = source
        self.blocks = blocks
        self.grid_hw = visual.grid_size

    def maps_and_embedding(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Give the maps of the first blocks, one after the other, `(B, K, h, w)` and the embedding `(B, D)`."""
        stream = self.visual._embeds(pixels)  # (B, 1 + n, d)
        taps = []
        for index, block in enumerate(self.visual.transformer.resblocks):
            after = block(stream)
            if index < self.blocks:
                taps.append(self.tap(block, stream, after))
            stream = after
        pooled, _ = self.visual._pool(stream)
        embedding = pooled @ self.visual.proj if self.visual.proj is not None else pooled
        return torch.cat(taps, dim=1), embedding

    def tap(self, block: Tower, before: Tensor, after: Tensor) -> Tensor:
        """Read this block's maps `(B, k, h, w)`: patch tokens only, row by row."""
        if self.source == "token":
            return self.on_grid(after[:, 1:])
        normed = block.ln_1(before)
        attn = block.attn
        # Written as the exporter writes attention itself, so that both point to the same stored weights.
        projected = normed @ attn.in_proj_weight.t() + attn.in_proj_bias
        query, key, value = projected.chunk(3, dim=-1)
        if self.source == "attention":
            heads, depth = attn.num_heads, query.shape[-1] // attn.num_heads
            first = query[:, :1].reshape(len(query), 1, heads, depth).transpose(1, 2) * depth**-0.5  # (B, T, 1, d)
            keys = key.reshape(len(key), -1, heads, depth).transpose(1, 2)  # (B, T, 1 + n, d)
            weights: Tensor = (first @ keys.transpose(2, 3)).softmax(dim=-1)[:, :, 0, 1:]  # (B, T, n)
            return weights.reshape(len(weights), heads, *self.grid_hw)
        facets = {"query": query, "key": key, "value": value}
        wanted = FACETS if self.source == "qkv" else (self.source,)
        return torch.cat([self.on_grid(facets[name][:, 1:]) for name in wanted], dim=1)

    def on_grid(self, tokens: Tensor) -> Tensor:
        """Turn patch tokens `(B, n, d)` into maps `(B, d, h, w)`."""
        return tokens.transpose(1, 2).reshape(len(tokens), -1, *self.grid_hw)

    def forward(self, pixels: Tensor) -> Tensor:
        """Give the embedding `(B, D)`, not normalised."""
        embedding: Tensor = self.visual(pixels)
        return embedding


def wide(values: Tensor) -> Tensor:
    """At least float32: what sums of many small numbers need."""
    return values if values.dtype == torch.float64 else values.float()


def per_head(weight: Tensor, heads: int) -> Tensor:
    """Split a projection `(H * d, C)` into its heads `(H, d, C)`."""
    return weight.detach().reshape(heads, -1, weight.shape[1])


def same_weights(tower: Tower) -> Tower:
    """Copy a tower's modules, but not its tensors: a module replaced in the copy leaves the tower as it was."""
    tensors = (*tower.parameters(), *tower.buffers())
    return copy.deepcopy(tower, {id(tensor): tensor for tensor in tensors})


def numbers_of(module: nn.Module) -> list[Tensor]:
    """A module's floating-point parameters and buffers."""
    return [tensor for tensor in chain(module.parameters(), module.buffers()) if tensor.is_floating_point()]


def let_go(encoder: nn.Module, model: Tower) -> None:
    """Free the weights that are the rewritten tower's own: the exporter remembers graphs that it has seen, with their tensors."""
    shared = {id(tensor) for tensor in numbers_of(model)}
    for tensor in numbers_of(encoder):
        if id(tensor) not in shared:
            tensor.data = torch.empty(0)


def fold_batch_norms(trunk: Tower) -> Tower:
    """Fold every BatchNorm of a CLIP ResNet into the convolution before it, in place."""
    trunk.eval()
    for module in list(trunk.modules()):
        for conv, norm in (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"), ("0", "1")):
            if isinstance(getattr(module, norm, None), nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                setattr(module, norm, nn.Identity())
    return trunk


def to_half(module: nn.Module) -> nn.Module:
    """Turn a tower to float16 in place, LayerNorms excepted: their sums of squares overflow half precision."""
    module.half()
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.LayerNorm):
                setattr(parent, name, float_norm(child))
    return module


def float_norm(norm: nn.LayerNorm) -> LayerNormFp32:
    """Copy a LayerNorm into one that computes in float32 and gives back its input's type."""
    copied = LayerNormFp32(norm.normalized_shape, eps=norm.eps, elementwise_affine=norm.elementwise_affine)
    copied.load_state_dict(norm.state_dict())
    return copied.float()
