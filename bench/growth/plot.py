"""The curves as one figure, a panel each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from bench.growth.curves import Curve


def draw(curves: Sequence[Curve], title: str, file: Path) -> Path:
    """Draw seconds over amounts, both logarithmic, with the quartiles."""
    figure, panels = plt.subplots(1, len(curves), figsize=(3.2 * len(curves), 3.2), layout="constrained", squeeze=False)
    for axes, curve in zip(panels[0], curves, strict=True):
        middles = [seconds.median for seconds in curve.seconds]
        below = [seconds.median - seconds.low for seconds in curve.seconds]
        above = [seconds.high - seconds.median for seconds in curve.seconds]
        axes.errorbar(curve.amounts, middles, yerr=(below, above), marker="o", markersize=4, linewidth=1, capsize=2)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel(curve.unit, fontsize=8)
        axes.set_title(f"{curve.name}: exponent {curve.exponent:.2f}", fontsize=9)
        axes.grid(alpha=0.3)
    panels[0][0].set_ylabel("seconds")
    figure.suptitle(title, fontsize=9)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
    plt.close(figure)
    return file
