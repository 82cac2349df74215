"""One check, and one wording, for the shapes of arrays at the door of a function."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def require(name: str, array: NDArray[np.generic], axes: tuple[str, ...]) -> None:
    """Raise `ValueError` unless the array has one axis per name in `axes` and at least one element."""
    if array.ndim != len(axes) or array.size == 0:
        raise ValueError(f"`{name}` must have the shape ({', '.join(axes)}), found {array.shape}")
