"""The pixels behind each box: the connected bright part that it was drawn around."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.boxes import cut_at, prepared
from engine.spec import Spec


def box_masks(saliency: NDArray[np.float32], xyxy: NDArray[np.float32], spec: Spec) -> NDArray[np.bool_]:
    """One mask (n, H, W) per box of a saliency map (H, W) that was boxed with this spec."""
    masks = np.zeros((len(xyxy), *saliency.shape), dtype=np.bool_)
    if not len(xyxy):
        return masks
    values = prepared(saliency, spec)
    bright = values > cut_at(values, spec, float(values.max()))
    _, parts, stats, _ = cv2.connectedComponentsWithStats(bright.view(np.uint8), connectivity=spec.connectivity)
    corners = np.concatenate([stats[:, :2], stats[:, :2] + stats[:, 2:4]], axis=1)
    for mask, box in zip(masks, xyxy, strict=True):
        x0, y0, x1, y1 = (round(edge) for edge in box.tolist())
        inside = np.s_[y0:y1, x0:x1]
        exact = 1 + np.flatnonzero((corners[1:] == (x0, y0, x1, y1)).all(axis=1))
        # Parts that were joined before the box was drawn have no rectangle of their own: all that is bright counts.
        mask[inside] = np.isin(parts[inside], exact) if len(exact) else bright[inside]
    return masks
