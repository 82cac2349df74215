"""Zero-shot classification: which noun suits the whole picture best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.sheets import Sheet


def holds_any(sheets: Sequence[Sheet], k: int) -> NDArray[np.bool_]:
    """Per picture, whether any of its best k nouns is one that it shows (P,)."""
    best = [np.argsort(-sheet.classes, kind="stable")[:k] for sheet in sheets]
    return np.array([bool(set(top.tolist()) & set(sheet.asked)) for top, sheet in zip(best, sheets, strict=True)])


def ranks(sheets: Sequence[Sheet]) -> NDArray[np.int64]:
    """Per query, how many nouns that the picture does not show suit it better than the one asked for (Q,).

    In a picture of one thing this is the usual rank; in a picture of two, each can come first.
    """
    found = []
    for sheet in sheets:
        strange = np.delete(sheet.classes, sheet.asked)
        found += [int((strange > sheet.classes[noun]).sum()) for noun in sheet.asked]
    return np.array(found, np.int64)
