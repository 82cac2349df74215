"""VL-Score (Gao & Wang 2022), literal and slow in plain PyTorch. It shares no code with what it checks."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
Array = NDArray[Any]


@dataclass(frozen=True)
class OracleSpec:
    name: str = "default"
    geometry: str = "squash"  # crop | squash | letterbox | stretch
    mask_align: str = "corners"  # corners | centers
    mask_order: str = "upsample-first"  # upsample-first | normalise-first
    base: str = "mean"  # mean | black
    score_space: str = "logit"  # cosine | logit
    temperature: float = 1.0
    combine: str = "raw"  # raw | masks
    contrast: float = 0.0
    outline: str = "grid"  # grid | picture
    resize: str = "clamp"  # clamp | mirror
    threshold: float = 0.6
    connectivity: int = 4
    min_area: float = 1e-3
    min_score: float = 0.0
    order: str = "score"  # raster | score


class OraclePicture(NamedTuple):
    """All stages of one localization; `grid` is None and `saliency` (H, W) zero when nothing is present."""

    pixels: Array  # (R, R, 3) uint8
    maps: Tensor  # (K, h, w)
    embeddings: Tensor  # (K, D), un-normalised as are base and embedding
    base: Tensor  # (D,)
    embedding: Tensor  # (D,)
    scores: Tensor  # (K,)
    base_score: float
    grid: Tensor | None  # (h, w)
    saliency: Array
    xyxy: Array  # (n, 4)
    box_scores: Array  # (n,)


def in_dtype(model: Any, dtype: torch.dtype) -> Any:
    """The model in eval mode: itself when it already computes in `dtype`, else a converted copy."""
    return (model if next(model.parameters()).dtype == dtype else copy.deepcopy(model).to(dtype)).eval()


def to_tensor(pixels: Array, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype) -> Tensor:
    """Pixels (R, R, 3) uint8 to the normalised picture (3, R, R)."""
    x = torch.from_numpy(pixels.copy()).to(dtype) / 255
    return ((x - torch.tensor(mean, dtype=dtype)) / torch.tensor(std, dtype=dtype)).permute(2, 0, 1)


def tap(model: Any, module: Any, x: Tensor) -> Tensor:
    """What the module gives out while the model embeds one normalised picture (3, R, R)."""
    taken: list[Tensor] = []
    handle = module.register_forward_hook(lambda _module, _inputs, out: taken.append(out))
    with torch.no_grad():
        model.encode_image(x[None])
    handle.remove()
    return taken[0]


def cnn_maps(model: Any, x: Tensor) -> Tensor:
    """Output (C, h, w) of the last bottleneck of stage 4 for a normalised picture (3, R, R)."""
    return tap(model, model.visual.layer4[-1], x)[0]


@torch.no_grad()
def vit_maps(model: Any, x: Tensor, blocks: Sequence[int] = (1, 2, 3, 4), facet: str = "query", components: int = 12) -> Tensor:
    """Maps (K, h, w) of a source in the 1-based blocks, those that there are: principal ones, or with 0 components all."""
    maps: list[Tensor] = []
    layers = model.visual.transformer.resblocks
    for block in (layers[number - 1] for number in blocks if number <= len(layers)):
        for z in patch_features(model, block, x, facet):
            kept = principal(z, components) if components else z
            maps.append(kept.T.reshape(-1, *model.visual.grid_size))
    return torch.cat(maps)


def patch_features(model: Any, block: Any, x: Tensor, facet: str) -> list[Tensor]:
    """What a block holds of every patch, (n, any) each: tokens, attention of the class token by heads, or facets."""
    y = tap(model, block.ln_1, x).reshape(-1, block.attn.embed_dim)  # one picture: (1 + n, d)
    if facet == "token":
        return [tap(model, block, x).reshape(-1, block.attn.embed_dim)[1:]]
    q, k, v = F.linear(y, block.attn.in_proj_weight, block.attn.in_proj_bias).chunk(3, dim=1)
    if facet == "attention":
        heads = zip(q.chunk(block.attn.num_heads, dim=1), k.chunk(block.attn.num_heads, dim=1), strict=True)
        return [torch.stack([torch.softmax(k_h @ q_h[0] / q_h.shape[1] ** 0.5, dim=0)[1:] for q_h, k_h in heads], dim=1)]
    named = {"query": [q], "key": [k], "value": [v], "qkv": [q, k, v]}
    return [each[1:] for each in named[facet]]


def principal(z: Tensor, components: int) -> Tensor:
    """Component scores (n, components) of z (n, d) by a thin SVD; zero columns beyond the rank."""
    u, s, _ = torch.linalg.svd(z.double() - z.double().mean(dim=0), full_matrices=False)
    rank = int((s > s[0] * max(z.shape) * torch.finfo(z.dtype).eps).sum())
    out = torch.zeros(len(z), components, dtype=z.dtype)
    for j in range(min(components, rank)):
        peak = u[int(np.argmax(u[:, j].abs().numpy())), j]  # the first of equal magnitudes
        out[:, j] = u[:, j] * s[j] * peak.sign()
    return out


def live(maps: Tensor) -> Tensor:
    """Which of the maps (K, h, w) are not constant, as bool (K,)."""
    low, high = maps.amin(dim=(1, 2)), maps.amax(dim=(1, 2))
    return high - low > 1e-7 * high.abs().clamp(min=1)


def minmax(plane: Tensor) -> Tensor:
    """One plane scaled to [0, 1]."""
    return (plane - plane.min()) / (plane.max() - plane.min() + 1e-7)


def mask(plane: Tensor, side: int, spec: OracleSpec) -> Tensor:
    """One map (h, w) as a mask (side, side)."""
    late, corners = spec.mask_order == "upsample-first", spec.mask_align == "corners"
    plane = (plane if late else minmax(plane))[None, None]
    large = F.interpolate(plane, size=(side, side), mode="bilinear", align_corners=corners)[0, 0]
    return minmax(large) if late else large


@torch.no_grad()
def encode(
    model: Any,
    pixels_u8: Array,
    mean: Sequence[float],
    std: Sequence[float],
    maps: Tensor,
    *,
    spec: OracleSpec,
    dtype: torch.dtype = torch.float32,
    batch: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """Un-normalised embeddings under the maps (K, D), of the base (D,) and of the picture (D,)."""
    model, side = in_dtype(model, dtype), pixels_u8.shape[0]
    x = to_tensor(pixels_u8, mean, std, dtype)
    black = to_tensor(np.zeros_like(pixels_u8), mean, std, dtype)
    base = black if spec.base == "black" else torch.zeros_like(x)
    groups = maps.to(dtype).split(batch)
    rows = [model.encode_image(torch.stack([mask(m, side, spec) * x for m in group])) for group in groups]
    return torch.cat(rows), model.encode_image(base[None])[0], model.encode_image(x[None])[0]


def scores(embeddings: Tensor, text: Tensor) -> Tensor:
    """Plain cosines (K,) of embeddings (K, D) with one text embedding (D,)."""
    return torch.cosine_similarity(embeddings, text.detach().to(embeddings.dtype)[None], dim=1)


def saliency(maps: Tensor, s: Tensor, base: float, spec: OracleSpec, logit_scale: float) -> Tensor | None:
    """Normalised saliency (h, w) from maps (K, h, w) and cosines (K,); None if no map beats the base's."""
    if bool(s.isnan().any()) or math.isnan(base):
        raise ValueError("a score is not a number")
    alive = live(maps)
    keep = (s > base) & alive
    if not bool(keep.any()):
        return None
    tau = spec.temperature / (logit_scale if spec.score_space == "logit" else 1)
    weights = torch.softmax(s[keep] / tau, dim=0)
    scaled = torch.stack([minmax(m) * ok for m, ok in zip(maps, alive, strict=True)])
    added = (scaled if spec.combine == "masks" else maps)[keep]
    total = (weights[:, None, None] * added).sum(dim=0).relu()
    average = scaled.mean(dim=0)
    return minmax((total - spec.contrast * total.sum() / average.sum() * average).relu())


def averaged(pixels: Array, n: int) -> Array:
    """Rows (m, any, 3) reduced to n rows: the mean over what lies in each, rows at an edge by the part inside."""
    m, rows = len(pixels), []
    for k in range(n):
        start, stop, total = k * m / n, (k + 1) * m / n, np.zeros(pixels.shape[1:])
        for row in range(math.floor(start), min(m, math.ceil(stop))):
            total += pixels[row] * (min(stop, row + 1) - max(start, row))
        rows.append(total / (stop - start))
    return np.stack(rows)


def outlined(grid: Tensor, pixels: Array) -> Tensor:
    """A map (h, w) in [0, 1] made a linear function of colour, window by window: 16 samples per cell, 0.75 cells each way."""
    cells = grid.shape
    high, wide = (min(16 * n, pixels.shape[0]) for n in cells)
    colours = np.rint(averaged(averaged(pixels, high).swapaxes(0, 1), wide).swapaxes(0, 1)) / 255
    large = F.interpolate(grid.double()[None, None], size=(high, wide), mode="bilinear", align_corners=False)[0, 0].numpy()
    dy, dx = (max(1, round(0.75 * fine / n)) for fine, n in zip((high, wide), cells, strict=True))

    def windows(plane: Array) -> Array:
        """All samples within reach of each, (high, wide, samples, channels)."""
        padded = np.pad(plane, ((dy, dy), (dx, dx), (0, 0)), mode="symmetric")
        seen = np.lib.stride_tricks.sliding_window_view(padded, (2 * dy + 1, 2 * dx + 1), axis=(0, 1))
        return seen.reshape(high, wide, plane.shape[2], -1).swapaxes(2, 3)

    linear = np.zeros((high, wide, 4))
    near, values = windows(colours), windows(large[..., None])
    for y, x in np.ndindex(high, wide):
        c, v = near[y, x], values[y, x, :, 0]
        around = (c - c.mean(axis=0)).T
        slope = np.linalg.solve(around @ around.T / len(v) + 2e-3 * np.eye(3), around @ (v - v.mean()) / len(v))
        linear[y, x] = *slope, v.mean() - slope @ c.mean(axis=0)
    mean = windows(linear).mean(axis=2)
    found = np.maximum((mean[..., :3] * colours).sum(axis=2) + mean[..., 3], 0)
    return torch.from_numpy(found / found.max() if found.max() > 0 else found).to(grid.dtype)


def place(picture_hw: tuple[int, ...], side: int, geometry: str) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size (height, width) after resizing, and where the square starts in it (negative for letterbox)."""
    if geometry == "squash":
        return (side, side), (0, 0)
    ruler = max(picture_hw) if geometry == "letterbox" else min(picture_hw)
    whole = (lambda n: round(side * n / ruler)) if geometry == "letterbox" else (lambda n: side * n // ruler)
    height, width = (max(1, whole(n)) for n in picture_hw)
    return (height, width), (round((height - side) / 2), round((width - side) / 2))


def preprocess(picture: Array, side: int, geometry: str, mean: Sequence[float] = MEAN) -> Array:
    """The square (side, side, 3) uint8 the model sees; letterbox is padded with the mean colour."""
    (height, width), (top, left) = place(picture.shape[:2], side, geometry)
    colour = (round(255 * mean[0]), round(255 * mean[1]), round(255 * mean[2]))
    square = Image.new("RGB", (side, side), colour)
    square.paste(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC), (-left, -top))
    return np.asarray(square)


def resample(values: Array, n: int, full: int, skip: int, *, side: int, spec: OracleSpec) -> Array:
    """Rows (h, any) linearly resampled to n rows of the picture; rows outside the square are zero."""
    count, pixel = len(values), np.arange(n) + 0.5
    square = pixel * side / n if spec.geometry in ("squash", "stretch") else pixel * full / n - skip
    u = square * count / side - 0.5
    if spec.resize == "mirror":
        u = np.where(np.abs(u) > count - 1, 2 * (count - 1) - np.abs(u), np.abs(u))
    u = np.clip(u, 0, count - 1)
    low = np.floor(u).astype(int)
    part = (u - low)[:, None]
    rows = (1 - part) * values[low] + part * values[np.minimum(low + 1, count - 1)]
    return np.where(((square >= 0) & (square < side))[:, None], rows, 0.0)


def to_picture(grid: Tensor | Array, picture_hw: tuple[int, ...], side: int, spec: OracleSpec) -> Array:
    """The saliency grid (h, w) over the whole picture (H, W), zero where the model did not look."""
    (height, width), (top, left) = place(picture_hw, side, spec.geometry)
    tall = resample(np.asarray(grid, dtype=np.float64), picture_hw[0], height, top, side=side, spec=spec)
    return resample(tall.T, picture_hw[1], width, left, side=side, spec=spec).T


def boxes(heat: Array, spec: OracleSpec) -> tuple[Array, Array]:
    """Half-open boxes (n, 4) of the components of the saliency (H, W), and their mean saliency (n,)."""
    reach = 1 if spec.connectivity == 4 else 2
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if 0 < abs(y) + abs(x) <= reach]
    todo = {(int(r), int(c)) for r, c in np.argwhere(heat > spec.threshold * heat.max())}
    found: list[tuple[tuple[int, int, int, int], float]] = []
    for seed in sorted(todo):
        component, edge = [], [seed]
        while edge:
            pixel = edge.pop()
            if pixel in todo:
                todo.remove(pixel)
                component.append(pixel)
                edge += [(pixel[0] + dy, pixel[1] + dx) for dy, dx in steps]
        if len(component) > spec.min_area * heat.size:
            rows, cols = np.array(component).T
            box = (int(cols.min()), int(rows.min()), int(cols.max()) + 1, int(rows.max()) + 1)
            found.append((box, float(heat[rows, cols].mean())))
    best = max((score for _, score in found), default=0.0)
    found = [(box, score) for box, score in found if score >= spec.min_score * best]
    if spec.order == "score":
        found.sort(key=lambda item: -item[1])  # stable: equal scores stay in raster order
    xyxy = np.array([box for box, _ in found], dtype=np.float32).reshape(-1, 4)
    return xyxy, np.array([score for _, score in found], dtype=np.float32)


def locate(
    model: Any,
    picture_u8: Array,
    text_embedding: Tensor,
    spec: OracleSpec,
    *,
    mean: Sequence[float] = MEAN,
    std: Sequence[float] = STD,
    dtype: torch.dtype = torch.float32,
    batch: int = 1,
    read: Callable[[Any, Tensor], Tensor] | None = None,
) -> OraclePicture:
    """The whole way for one picture (H, W, 3) uint8 and one text embedding (D,)."""
    model, hw = in_dtype(model, dtype), picture_u8.shape[:2]
    side = int(np.max(model.visual.image_size))
    pixels = preprocess(picture_u8, side, spec.geometry, mean)
    x = to_tensor(pixels, mean, std, dtype)
    read = read or (cnn_maps if hasattr(model.visual, "layer4") else vit_maps)
    maps = read(model, x)
    embeddings, base, embedding = encode(model, pixels, mean, std, maps, spec=spec, dtype=dtype, batch=batch)
    s, b = scores(embeddings, text_embedding), float(scores(base[None], text_embedding)[0])
    grid = saliency(maps, s, b, spec, float(model.logit_scale.detach().exp()))
    if grid is not None and spec.outline == "picture":
        grid = outlined(grid, pixels)
    heat = np.zeros(hw) if grid is None else to_picture(grid, hw, side, spec)
    return OraclePicture(pixels, maps, embeddings, base, embedding, s, b, grid, heat, *boxes(heat, spec))
