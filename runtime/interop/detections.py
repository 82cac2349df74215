"""Answers as `supervision.Detections`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from runtime.errors import ArgumentError
from runtime.interop.masks import box_masks
from runtime.localization import Localization


def detection_fields(found: Localization | Sequence[Localization], *, masks: bool = False) -> dict[str, Any]:
    """What `sv.Detections(**fields)` takes; `class_id` is the place of a query among the answers."""
    answers = [found] if isinstance(found, Localization) else list(found)
    if not answers:
        raise ArgumentError("`found` holds no answer; give what `locate` gave")
    counts = [len(answer) for answer in answers]
    return {
        "xyxy": np.concatenate([answer.xyxy for answer in answers]),
        "mask": np.concatenate([box_masks(answer) for answer in answers]) if masks and any(counts) else None,
        "confidence": np.concatenate([answer.scores for answer in answers]),
        "class_id": np.repeat(np.arange(len(answers)), counts),
        "data": {"class_name": np.repeat(np.array([answer.query for answer in answers]), counts)},
    }


def to_supervision(found: Localization | Sequence[Localization], *, masks: bool = False) -> Any:  # noqa: ANN401 - theirs
    """`supervision.Detections`, with the queries as `class_name`; needs `pip install supervision`."""
    try:
        supervision = importlib.import_module("supervision")
    except ImportError as error:
        raise ArgumentError("`supervision` is not installed: `pip install supervision`, or use `detection_fields`") from error
    return supervision.Detections(**detection_fields(found, masks=masks))
