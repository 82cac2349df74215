"""Paint plans into pixels, and into the masks that are their truth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from bench.world.artwork import Sprites
from bench.world.backgrounds import SEEN, UNSEEN, background, colour
from bench.world.layout import Item, Plan

SOLID = 128  # alpha from which a pixel counts as the object's own


@dataclass(frozen=True, slots=True)
class Painted:
    """A picture (h, w, 3) and the visible mask (h, w) of each of its objects."""

    pixels: NDArray[np.uint8]
    masks: tuple[NDArray[np.bool_], ...]


def paint(
    rng: Generator, sprites: Sprites, scene: Plan, backgrounds: str, canvas_hw: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Paint a plan, squashed to canvas_hw where that is given."""
    return _paint(rng, sprites, scene, backgrounds, canvas_hw or scene.hw, None)


def paint_with_truth(rng: Generator, sprites: Sprites, scene: Plan, backgrounds: str) -> Painted:
    """Paint a plan in its own size and keep what stays visible of each object."""
    masks: list[NDArray[np.bool_]] = []
    pixels = _paint(rng, sprites, scene, backgrounds, scene.hw, masks)
    return Painted(pixels, tuple(masks))


def _paint(
    rng: Generator,
    sprites: Sprites,
    scene: Plan,
    backgrounds: str,
    hw: tuple[int, int],
    masks: list[NDArray[np.bool_]] | None,
) -> NDArray[np.uint8]:
    canvas = background(rng, *hw, SEEN if backgrounds == "seen" else UNSEEN)
    scale_yx = (hw[0] / scene.hw[0], hw[1] / scene.hw[1])
    for item in scene.items:
        _stamp(canvas, sprites, item, scale_yx, masks)
    if scene.cover is not None:
        y, x, radius, stretch, angle = scene.cover
        shape = np.zeros(hw, np.uint8)
        centre = (round(x * scale_yx[1]), round(y * scale_yx[0]))
        axes = (max(1, round(radius * stretch * scale_yx[1])), max(1, round(radius / stretch * scale_yx[0])))
        cv2.ellipse(shape, centre, axes, angle, 0, 360, 1, -1)
        covered = shape.astype(bool)
        canvas[covered] = colour(rng).astype(np.uint8)
        _take(masks or [], covered)
    return canvas


def _stamp(
    canvas: NDArray[np.uint8],
    sprites: Sprites,
    item: Item,
    scale_yx: tuple[float, float],
    masks: list[NDArray[np.bool_]] | None,
) -> None:
    """Draw one object over the canvas (h, w, 3) and take its pixels from the masks before it."""
    linear = np.diag([scale_yx[1], scale_yx[0]]) @ item.affine
    centre = np.array([item.centre_yx[1] * scale_yx[1], item.centre_yx[0] * scale_yx[0]])
    reach = 0.5 * np.abs(linear).sum(axis=1) + 1
    height, width = canvas.shape[:2]
    left, top = (int(max(0, value)) for value in np.floor(centre - reach))
    right, bottom = np.minimum(np.ceil(centre + reach).astype(int), (width, height))
    drawn = _warped(sprites, item, linear, centre - (left, top), (int(right - left), int(bottom - top)))
    alpha = drawn[..., 3:]
    region = canvas[top:bottom, left:right]
    clear = (255 - alpha).astype(np.uint16)
    region[:] = np.minimum(drawn[..., :3], alpha) + ((region * clear + 127) // 255).astype(np.uint8)
    if masks is not None:
        own = np.zeros((height, width), bool)
        own[top:bottom, left:right] = alpha[..., 0] >= SOLID
        _take(masks, own)
        masks.append(own)


def _take(masks: list[NDArray[np.bool_]], covered: NDArray[np.bool_]) -> None:
    """Clear covered pixels (h, w) in all masks, in place."""
    for mask in masks:
        np.logical_and(mask, ~covered, out=mask)


def _warped(
    sprites: Sprites,
    item: Item,
    linear: NDArray[np.float64],
    centre: NDArray[np.float64],
    size_wh: tuple[int, int],
) -> NDArray[np.uint8]:
    """The sprite under its map and tint, (h, w, 4) premultiplied."""
    length = float(np.sqrt(abs(np.linalg.det(linear))))
    fitting = [level for level in sprites.levels if level.shape[1] >= 0.8 * length]
    sprite = (fitting[-1] if fitting else sprites.levels[0])[item.sprite]
    side = sprite.shape[0]
    matrix = linear / side
    shift = centre - 0.5 - matrix @ np.full(2, 0.5 * side - 0.5)
    warp = np.concatenate([matrix, shift[:, None]], axis=1)
    drawn = cv2.warpAffine(cv2.transform(sprite, item.tint), warp, size_wh, flags=cv2.INTER_LINEAR)
    return np.asarray(drawn, dtype=np.uint8)
