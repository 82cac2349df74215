"""What is still agreement with the oracle's scores, in every precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Root mean square of the difference, relative to the spread of the oracle's scores, which are those of a trained model.
TOLERANCE = {"fp32": 0.01, "tf32": 0.05, "fp16": 0.05, "bf16": 0.2, "int8": 0.3, "int8-symmetric": 0.3}
SINGLE = 1e-4  # cosines; float32 that is farther off was rounded on its way, as to TF32
SPREADS = (0.1, 10.0)  # of the scores found, relative to the oracle's; zeros and constants have none


def spread(scores: NDArray[np.floating]) -> float:
    """How much scores differ from each other."""
    return float(np.std(np.asarray(scores, np.float64)))


def disagreement(precision: str, relative: float, absolute: float, spreads: float, *, trained: bool = True) -> str:
    """Why scores are not what a precision can do; nothing where they are.

    `relative` is the error in units of the oracle's spread, `absolute` the same in cosines, `spreads` the spread found in units
    of the oracle's. Under random weights all masked copies look alike, and what is left of a difference may be below the grain
    of a lower precision: there only float32 is judged by its error.
    """
    if not np.isfinite([relative, absolute, spreads]).all():
        return "scores are not finite"
    if not SPREADS[0] <= spreads <= SPREADS[1]:
        return f"scores spread {spreads:.2g} times as far as the oracle's: they are constant, or something else"
    if precision == "fp32" and absolute > SINGLE:
        return f"scores are off by {absolute:.2g} in cosines, which float32 does not explain: was TF32 taken?"
    if (trained or precision == "fp32") and relative > TOLERANCE[precision]:
        return f"scores are off by {relative:.2g} of their spread; {precision} explains {TOLERANCE[precision]:g}"
    return ""
