"""Made-up answers whose masks are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from engine.frame import Frame
from engine.spec import DEFAULT
from runtime.localization import Localization


def answer(query: str, boxes: Sequence[tuple[float, ...]], picture_hw: tuple[int, int] = (30, 40)) -> Localization:
    """Boxes (x0, y0, x1, y1, score), each filled with saliency of its score."""
    spread = np.zeros(picture_hw, np.float32)
    for x0, y0, x1, y1, score in boxes:
        spread[int(y0) : int(y1), int(x0) : int(x1)] = score
    rows = np.array(boxes, np.float32).reshape(-1, 5)
    return Localization(
        query=query,
        xyxy=rows[:, :4],
        scores=rows[:, 4],
        present=bool(boxes),
        map=np.zeros((7, 7), np.float32),
        frame=Frame.fit(picture_hw, 224, "squash"),
        spec=DEFAULT,
        kept=1,
        maps=2,
        margin=0.01,
        similarity=0.2,
        spread=spread,
    )
