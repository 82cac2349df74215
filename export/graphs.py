"""The graphs of a bundle as PyTorch modules: what runs on the device, from u8 pixels to the saliency map.

All shapes are fixed when a graph is exported. Pixels enter as u8; normalisation of pixels, masks, embeddings and
scores happens inside. Whatever the precision of the encoder, min-max, L2 norms and scores are float32.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.manifest import MaskInfo
from engine.resample import upsampler
from export.encoders import Encoder, Tower

DROPPED = -1.0e30  # the logit of a map that is not above the base: its softmax weight is exactly 0


class Pixels(nn.Module):
    """Picture bytes `(P, R, R, 3)` to CLIP's normalised pixels `(P, 3, R, R)` in float32."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        spread = torch.tensor(std, dtype=torch.float64)
        self.register_buffer("scale", (1 / (255 * spread)).float().view(1, 3, 1, 1))
        shift = -torch.tensor(mean, dtype=torch.float64) / spread
        self.register_buffer("shift", shift.float().view(1, 3, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise."""
        # Floats first: NVIDIA's parser moves no axes of bytes.
        return pixels.float().permute(0, 3, 1, 2) * self.scale + self.shift


class ImageGraph(nn.Module):
    """One picture, once: its maps and its embedding."""

    def __init__(self, pixels: Pixels, encoder: Encoder, dtype: torch.dtype) -> None:
        super().__init__()
        self.pixels, self.encoder, self.dtype = pixels, encoder, dtype

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Take u8 `(1, R, R, 3)`; give maps `(K, h, w)` and the unit embedding `(D,)`."""
        maps, embedding = self.encoder.maps_and_embedding(self.pixels(pixels).to(self.dtype))
        return maps[0].float(), F.normalize(embedding.float(), dim=-1)[0]


class MaskedGraph(nn.Module):
    """A batch of masked copies: upsample each map, scale it to [0, 1], multiply its picture, encode.

    A batch may hold passes of several pictures (as many as there are slots); `which` names each pass's slot, so that
    the last passes of one picture and the first of the next share a batch.
    """

    rows: Tensor
    cols: Tensor

    def __init__(
        self,
        pixels: Pixels,
        encoder: Encoder,
        dtype: torch.dtype,
        sizes: tuple[int, int, int],
        masks: MaskInfo,
    ) -> None:
        """Take the picture's side and the grid's height and width as `sizes`."""
        super().__init__()
        self.pixels, self.encoder, self.dtype = pixels, encoder, dtype
        self.order, self.eps = masks.order, masks.eps
        side, *grid_hw = sizes
        rows, cols = (torch.from_numpy(upsampler(masks.align, side, n)).float() for n in grid_hw)
        self.register_buffer("rows", rows.contiguous())  # (R, h)
        self.register_buffer("cols", cols.t().contiguous())  # (w, R)

    def forward(self, pixels: Tensor, which: Tensor, maps: Tensor) -> Tensor:
        """Take u8 `(P, R, R, 3)`, slots `(B,)` and maps `(B, h, w)`; give unit embeddings `(B, D)`."""
        masks = self.masks(maps).unsqueeze(1)  # (B, 1, R, R)
        pictures = self.pixels(pixels).index_select(0, which)  # (B, 3, R, R)
        return F.normalize(self.encoder((pictures * masks).to(self.dtype)).float(), dim=-1)

    def masks(self, maps: Tensor) -> Tensor:
        """Upsample and scale to [0, 1], in the order that the bundle was built for."""
        if self.order == "normalise-first":
            return self.rows @ min_max(maps, self.eps) @ self.cols
        return min_max(self.rows @ maps @ self.cols, self.eps)


class SaliencyGraph(nn.Module):
    """Embeddings to saliency: cosines above the base, softmax, weighted sum of maps, what is common subtracted.

    Scores are `(embedding - base) . text`, so a map whose masked copy *is* the base scores exactly 0 and is dropped.
    `combine` moves between the raw maps (0) and the maps scaled to [0, 1] on the grid (1). `contrast` subtracts that
    share of the average map, brought to the same sum: what any query would light up tells nothing about this one.
    """

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def forward(
        self,
        embeddings: Tensor,
        base: Tensor,
        maps: Tensor,
        texts: Tensor,
        temperature: Tensor,
        combine: Tensor,
        contrast: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Take `(K, D)`, `(D,)`, `(K, h, w)`, `(Q, D)` and three scalars; give scores `(Q, K)`, saliency `(Q, h, w)`."""
        scores = texts @ (embeddings - base).t()  # (Q, K), relative to the base
        above = scores > 0
        logits = torch.where(above, scores / temperature, DROPPED)
        weights = logits.softmax(dim=-1) * above.float()
        count, height, width = maps.shape
        scaled = min_max(maps, self.eps).reshape(count, height * width)
        summed = maps.reshape(count, height * width) * (1 - combine) + scaled * combine
        saliency = (weights @ summed).relu()  # (Q, n)
        common = scaled.mean(dim=0, keepdim=True)  # (1, n)
        share = saliency.sum(dim=-1, keepdim=True) / (common.sum(dim=-1, keepdim=True) + self.eps)
        saliency = (saliency - contrast * share * common).relu()
        return scores, saliency.reshape(-1, height, width)


class TextGraph(nn.Module):
    """Tokens to unit embeddings, by the model's own text tower, or by one that reads fewer tokens."""

    def __init__(self, model: Tower, context: int | None = None) -> None:
        super().__init__()
        self.model = model if context is None else shortened(model, context)

    def forward(self, tokens: Tensor) -> Tensor:
        """Take token ids `(N, T)`; give unit embeddings `(N, D)`."""
        embeddings: Tensor = self.model.encode_text(tokens)
        return F.normalize(embeddings.float(), dim=-1)


def looks_back_only(model: Tower) -> bool:
    """Whether a text's embedding is read at its end, by a tower whose tokens see only what stands before them."""
    return getattr(model, "attn_mask", None) is not None and getattr(model, "text_pool_type", "") == "argmax"


def shortened(model: Tower, context: int) -> Tower:
    """The same text tower, sharing every weight, for texts that end within `context` tokens.

    What follows a text's end is padding that nothing looks at, so leaving it out changes no number and saves its work.
    """
    if not looks_back_only(model):
        raise ValueError("this text tower looks at what follows a text's end: it cannot be shortened")
    short = copy.copy(model)
    # A module's copy shares its tables of parameters and buffers; these two are cut in tables of its own.
    positions = nn.Parameter(model.positional_embedding[:context], requires_grad=False)
    short._parameters = {**model._parameters, "positional_embedding": positions}
    short._buffers = {**model._buffers, "attn_mask": model.attn_mask[:context, :context]}
    return short


def min_max(planes: Tensor, eps: float) -> Tensor:
    """Scale each plane `(B, h, w)` to [0, 1]; a constant plane becomes 0."""
    low = planes.amin(dim=(1, 2), keepdim=True)
    high = planes.amax(dim=(1, 2), keepdim=True)
    return (planes - low) / (high - low + eps)
