"""Masks behind boxes: each is the part that its box was drawn around, whatever else is bright."""

from __future__ import annotations

import numpy as np
import pytest

from engine.box_masks import box_masks
from engine.boxes import find_boxes
from engine.spec import DEFAULT


@pytest.mark.parametrize("seed", range(4))
def test_every_box_is_the_tight_rectangle_of_its_mask(seed: int) -> None:
    saliency = np.random.default_rng(seed).random((12, 17)).astype(np.float32).repeat(4, axis=0).repeat(4, axis=1)
    spec = DEFAULT.replace(threshold=0.6, min_score=0.0)
    boxes = find_boxes(saliency, spec)
    masks = box_masks(saliency, boxes.xyxy, spec)
    assert len(boxes) > 3
    for mask, (x0, y0, x1, y1), score in zip(masks, boxes.xyxy.astype(int), boxes.scores, strict=True):
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        assert (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) == (x0, y0, x1, y1)
        assert saliency[mask].mean() == pytest.approx(score, abs=1e-5)


def test_no_boxes_no_masks() -> None:
    assert box_masks(np.zeros((3, 4), np.float32), np.zeros((0, 4), np.float32), DEFAULT).shape == (0, 3, 4)
