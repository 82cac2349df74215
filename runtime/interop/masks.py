"""Answers as masks: one per box, one plane of classes, one picture."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import engine.box_masks
from engine.saliency import to_picture
from runtime.errors import ArgumentError
from runtime.localization import Localization

Flags = NDArray[np.bool_]
MOST_CLASSES = 255  # 0 is the background


def box_masks(found: Localization) -> Flags:
    """One mask (n, H, W) per box: the connected bright part that the box was drawn around."""
    kept = found.spread is not None or "saliency" in vars(found)
    # Not `saliency`, which would stay with the answer: of a folder's pictures that is more than memory holds.
    saliency = found.saliency if kept else to_picture(found.map, found.frame, found.spec.resize, found.spec.interpolation)
    return engine.box_masks.box_masks(saliency, found.xyxy, found.spec)


def class_plane(found: Sequence[Localization]) -> NDArray[np.uint8]:
    """Classes (H, W): 0 is nothing, 1 the first query, and so on; where several claim a pixel, the brightest has it."""
    if not found or len(found) > MOST_CLASSES:
        raise ArgumentError(f"a plane of classes takes 1 to {MOST_CLASSES} answers, found {len(found)}")
    plane = np.zeros(found[0].frame.picture_hw, dtype=np.uint8)
    best = np.zeros(plane.shape, dtype=np.float32)
    for number, answer in enumerate(found, start=1):
        wins = box_masks(answer).any(axis=0) & (answer.saliency > best)
        plane[wins] = number
        best[wins] = answer.saliency[wins]
    return plane


def mask_image(found: Localization) -> Image.Image:
    """What was found as a black and white PIL image of the picture's size."""
    return Image.fromarray(box_masks(found).any(axis=0).astype(np.uint8) * np.uint8(255))


def outlines(mask: Flags) -> list[list[float]]:
    """A mask's outer outlines as polygons [x, y, x, y, ...] along the edges of its pixels."""
    # Twice as large, so that a contour, which runs through the middle of pixels, comes to within a quarter of the edge.
    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [((contour.reshape(-1) + 0.5) / 2).tolist() for contour in contours if len(contour) >= 3]
