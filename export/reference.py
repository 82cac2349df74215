"""The same computation in plain PyTorch on the untouched open_clip model: what a bundle is compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engine.manifest import MapsInfo
from engine.spec import Spec
from export.weights import Loaded

Floats = NDArray[np.float32]
AT_ONCE = 8 * 224 * 224  # pixels of masked copies


@dataclass(frozen=True)
class Reference:
    """An open_clip model and the way it wants its pictures."""

    loaded: Loaded
    maps: MapsInfo
    spec: Spec

    @torch.no_grad()
    def picture(self, pixels: NDArray[np.uint8], dtype: torch.dtype = torch.float32) -> tuple[NDArray[Any], NDArray[Any]]:
        """Raw maps `(K, h, w)`, before any reduction, and the unit embedding `(D,)` of a picture `(R, R, 3)`."""
        taps: list[Tensor] = []
        handles = [module.register_forward_hook(hook(taps, kind, self.maps)) for module, kind in self.tapped()]
        try:
            embedding = F.normalize(self.loaded.model.encode_image(self.normalised(pixels, dtype)), dim=-1)[0]
        finally:
            for handle in handles:
                handle.remove()
        return torch.cat(taps).numpy(), embedding.numpy()

    @torch.no_grad()
    def masked(self, pixels: NDArray[np.uint8], maps: Floats, dtype: torch.dtype = torch.float32) -> NDArray[Any]:
        """Unit embeddings `(n, D)` of the copies of a picture masked by these maps `(n, h, w)`; 0 gives the base."""
        few = max(1, AT_ONCE // pixels[..., 0].size)  # so few that a large model's activations fit
        found = [
            self.some_masked(pixels, torch.from_numpy(some).to(dtype)) for some in np.split(maps, range(few, len(maps), few))
        ]
        return np.concatenate(found)

    def some_masked(self, pixels: NDArray[np.uint8], maps: Tensor) -> NDArray[Any]:
        """The same for a few maps."""
        side = pixels.shape[0]
        corners = self.spec.mask_align == "corners"
        masks = maps.unsqueeze(1)  # (n, 1, h, w)
        if self.spec.mask_order == "normalise-first":
            masks = scale(masks)
        masks = F.interpolate(masks, (side, side), mode="bilinear", align_corners=corners)
        if self.spec.mask_order == "upsample-first":
            masks = scale(masks)
        embeddings: Tensor = self.loaded.model.encode_image(masks * self.normalised(pixels, maps.dtype))
        return np.asarray(F.normalize(embeddings, dim=-1).numpy())

    @torch.no_grad()
    def texts(self, prompts: Sequence[str]) -> Floats:
        """Unit embeddings `(n, D)` of sentences."""
        return F.normalize(self.loaded.model.encode_text(self.loaded.tokenizer(list(prompts))), dim=-1).numpy()

    def saliency(self, maps: Floats, scores: Floats, logit_scale: float) -> Floats:
        """Saliency `(h, w)` from scores relative to the base `(n,)`."""
        kept = scores > 0
        if not kept.any():
            return np.zeros(maps.shape[1:], dtype=np.float32)
        logits = scores[kept].astype(np.float64) / self.spec.tau(logit_scale)
        weights = np.exp(logits - logits.max())
        summed = np.tensordot(weights / weights.sum(), self.summands(maps)[kept].astype(np.float64), axes=1)
        saliency = np.maximum(summed, 0)
        common = scale(torch.from_numpy(maps).unsqueeze(1)).numpy().mean(axis=(0, 1))
        share = saliency.sum() / max(float(common.sum()), 1e-12)
        return np.asarray(np.maximum(saliency - self.spec.contrast * share * common, 0), dtype=np.float32)

    def summands(self, maps: Floats) -> Floats:
        """What the weighted sum adds up: the raw maps, or the maps scaled to [0, 1]."""
        if self.spec.combine == "raw":
            return maps
        return np.asarray(scale(torch.from_numpy(maps).unsqueeze(1))[:, 0].numpy())

    def normalised(self, pixels: NDArray[np.uint8], dtype: torch.dtype = torch.float32) -> Tensor:
        """CLIP's pixels `(1, 3, R, R)`."""
        prepared = self.loaded.preprocessing
        mean, std = (torch.tensor(values, dtype=dtype).view(1, 3, 1, 1) for values in (prepared.mean, prepared.std))
        return (torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0).to(dtype) / 255 - mean) / std

    def tapped(self) -> list[tuple[Any, str]]:
        """The modules whose inputs or outputs are maps."""
        visual = self.loaded.model.visual
        if self.maps.source == "bottleneck":
            return [(visual.layer4[-1], "bottleneck")]
        kind = self.maps.source.removesuffix("-pca")
        blocks = visual.transformer.resblocks[: int(self.maps.layer.rpartition("-")[2])]
        return [(block if kind == "token" else block.attn, kind) for block in blocks]


def hook(taps: list[Tensor], kind: str, maps: MapsInfo) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    """A forward hook that collects maps `(k, h, w)` of the one picture passing by."""

    def on_grid(tokens: Tensor) -> Tensor:
        return tokens[1:].t().reshape(-1, maps.height, maps.width)

    def collect(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if kind == "bottleneck":
            taps.append(output[0].clone())
        elif kind == "token":
            taps.append(on_grid(output[0]))
        else:
            taps.append(attention_maps(module, inputs[0], kind, on_grid, maps))

    return collect


def attention_maps(module: Any, normed: Tensor, kind: str, on_grid: Callable[[Tensor], Tensor], maps: MapsInfo) -> Tensor:  # noqa: ANN401
    """Query, key or value maps of one attention module, or the class token's attention, head by head."""
    query, key, value = (normed[0] @ module.in_proj_weight.t() + module.in_proj_bias).chunk(3, dim=-1)
    if kind != "attention":
        facets = {"query": (query,), "key": (key,), "value": (value,), "qkv": (query, key, value)}[kind]
        return torch.cat([on_grid(facet) for facet in facets])
    depth = query.shape[-1] // module.num_heads
    heads = []
    for head in range(module.num_heads):
        part = slice(head * depth, (head + 1) * depth)
        weights = (query[0, part] @ key[:, part].t() / depth**0.5).softmax(dim=-1)
        heads.append(weights[1:].reshape(maps.height, maps.width))
    return torch.stack(heads)


def scale(planes: Tensor) -> Tensor:
    """Scale planes `(n, 1, h, w)` to [0, 1]."""
    low, high = planes.amin(dim=(2, 3), keepdim=True), planes.amax(dim=(2, 3), keepdim=True)
    return (planes - low) / (high - low + 1e-7)
