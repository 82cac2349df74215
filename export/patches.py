"""What each patch of a picture gives a vision transformer's embedding by itself: the graph of `instant` for transformers.

The class token is a sum of what every block's attention brings it from every token, and of what the blocks add themselves.
The last LayerNorm and the projection are linear but for one number, so the embedding is such a sum too (the decomposition
of Gandelsman, Efros and Steinhardt, ICLR 2024). A masked copy is then predicted by what its visible patches give.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export.encoders import Tower, ViTEncoder
from export.graphs import Pixels


def has_patches(visual: Tower) -> bool:
    """Whether a transformer's embedding is its class token, projected: else it is no such sum."""
    return visual.attn_pool is None and visual.pool_type == "tok" and visual.proj is not None


class BlankPatchGraph(nn.Module):
    """The blank picture, once per model: its class token, which the instant graph keeps. It is run and then removed."""

    def __init__(self, encoder: ViTEncoder, dtype: torch.dtype) -> None:
        super().__init__()
        self.visual, self.dtype = encoder.visual, dtype

    def forward(self, pixels: Tensor) -> Tensor:
        """Take normalised pixels `(1, 3, R, R)`, all zero for the blank picture; give the last class token `(1, d)`."""
        stream = self.visual._embeds(pixels.to(self.dtype))
        for block in self.visual.transformer.resblocks:
            stream = block(stream)
        token: Tensor = stream[:, 0].float()
        return token


class PatchGraph(nn.Module):
    """One picture, once: its maps, its embedding, what each patch gives that, and the base."""

    blank: Tensor

    def __init__(self, pixels: Pixels, encoder: ViTEncoder, dtype: torch.dtype, blank: Tensor) -> None:
        """Take what `BlankPatchGraph` gave for the blank picture."""
        super().__init__()
        self.pixels, self.encoder, self.dtype = pixels, encoder, dtype
        self.register_buffer("blank", blank.to(dtype).contiguous())  # (1, d)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Take u8 `(1, R, R, 3)`; give maps `(K, h, w)`, the unit embedding `(D,)`, its patches `(n, D)`, the base `(D,)`."""
        encoder, visual = self.encoder, self.encoder.visual
        stream = visual._embeds(self.pixels(pixels).to(self.dtype))  # (1, 1 + n, d)
        given: list[Tensor] = []  # by each block, (n, d)
        taps = []
        for index, block in enumerate(visual.transformer.resblocks):
            attended, from_patches = attend(block.attn, block.ln_1(stream))
            given.append(block.ls_1(from_patches).float())
            after = stream + block.ls_1(attended)
            after = after + block.ls_2(block.mlp(block.ln_2(after)))
            if index < encoder.blocks:
                taps.append(encoder.tap(block, stream, after))
            stream = after
        tokens = torch.cat([stream[:, 0], self.blank])  # (2, d)
        pooled = (visual.ln_post(tokens) @ visual.proj).float()
        whole = sum(given[1:], given[0])
        share = whole - whole.mean(dim=1, keepdim=True)  # a LayerNorm centres the sum, and so every part of it
        share = share * visual.ln_post.weight.float() / deviation(tokens[:1].float(), visual.ln_post.eps)
        patches = (share.to(self.dtype) @ visual.proj).float() / pooled[:1].norm(dim=1, keepdim=True)
        embedding, base = F.normalize(pooled, dim=-1).unbind()
        return torch.cat(taps, dim=1)[0].float(), embedding, patches, base


def attend(attn: Tower, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Attention over tokens `(1, N, d)`: its output `(1, N, d)`, and what it brings the class token from each patch `(n, d)`.

    Written as the exporter writes attention, so that both point to the same stored weights.
    """
    heads, (count, width) = attn.num_heads, tokens.shape[1:]
    depth = width // heads
    projected = tokens @ attn.in_proj_weight.t() + attn.in_proj_bias
    query, key, value = (part.reshape(count, heads, depth).transpose(0, 1) for part in projected.chunk(3, dim=-1))  # (T, N, d/T)
    weights = (query * depth**-0.5 @ key.transpose(1, 2)).softmax(dim=-1)  # (T, N, N)
    seen = weights[:, 0, 1:].unsqueeze(-1) * value[:, 1:]  # (T, n, d/T): each patch alone
    both = torch.cat([weights @ value, seen], dim=1).transpose(0, 1).reshape(-1, width)  # (N + n, d)
    out = F.linear(both, attn.out_proj.weight, attn.out_proj.bias)
    from_patches: Tensor = out[count:] - attn.out_proj.bias  # which is the same whatever is looked at, and no patch's own
    return out[:count].unsqueeze(0), from_patches


def deviation(tokens: Tensor, eps: float) -> Tensor:
    """What a LayerNorm divides tokens `(1, d)` by: `(1, 1)`. As a length, which every backend has."""
    width = tokens.shape[1]
    apart = tokens - tokens.mean(dim=1, keepdim=True)
    length: Tensor = torch.cat([apart, torch.full_like(apart[:, :1], (width * eps) ** 0.5)], dim=1).norm(dim=1, keepdim=True)
    scaled: Tensor = length * width**-0.5
    return scaled
