from __future__ import annotations

import numpy as np
import pytest

from engine.shapes import require


def test_fitting_array_passes() -> None:
    require("maps", np.zeros((2, 3, 4)), ("K", "h", "w"))


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 0), (0, 3, 4), (1, 2, 3, 4)])
def test_misfit_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"`maps` must have the shape \(K, h, w\), found"):
        require("maps", np.zeros(shape), ("K", "h", "w"))
