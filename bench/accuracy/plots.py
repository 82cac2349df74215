"""The figures of a run as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from bench.accuracy.presence import Presence
from bench.accuracy.results import Results
from bench.accuracy.sweep import Search
from bench.accuracy.trials import Trial

SHADES = {"gt_known": "tab:blue", "first_box": "tab:orange", "box_iou": "tab:green"}
NAMES = {"gt_known": "GT-known", "first_box": "first box", "box_iou": "mean box IoU"}


def draw_all(results: Results, folder: Path) -> list[Path]:
    """Draw every figure that the results have something for; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    if results.lines:
        drawn.append(splits(results, folder / "splits.png"))
    if results.search:
        drawn.append(thresholds(results.search, results.pixel_curve, folder / "threshold.png"))
        drawn.append(temperatures(results.search, float(results.about["logit_scale"]), folder / "temperature.png"))
    if results.presence:
        drawn.append(roc(results.presence, folder / "presence.png"))
    return drawn


def thresholds(search: Search, pixels: dict[float, float], file: Path) -> Path:
    """Figures over the threshold, for the chosen spec and for the best published setting."""
    axes = _axes("threshold, fraction of the maximum", "% of `val`")
    _curves(axes, search.thresholds, [trial.spec.threshold for trial in search.thresholds], "-")
    _curves(axes, search.paper_thresholds, [trial.spec.threshold for trial in search.paper_thresholds], ":")
    axes.plot(list(pixels), [100 * value for value in pixels.values()], color="tab:red", label="pixel mIoU")
    axes.axvline(search.best.spec.threshold, color="0.8", zorder=0)
    return _save(axes, file)


def temperatures(search: Search, logit_scale: float, file: Path) -> Path:
    """Figures over the temperature, each at its best threshold, in multiples of 1 / logit scale."""
    axes = _axes("temperature x logit scale", "% of `val`, each at its best threshold")
    axes.set_xscale("log")
    _curves(axes, search.temperatures, [trial.spec.tau(logit_scale) * logit_scale for trial in search.temperatures], "-")
    places = [trial.spec.tau(logit_scale) * logit_scale for trial in search.paper_temperatures]
    _curves(axes, search.paper_temperatures, places, ":")
    axes.axvline(search.best.spec.tau(logit_scale) * logit_scale, color="0.8", zorder=0)
    return _save(axes, file)


def roc(presence: Presence, file: Path) -> Path:
    """Shares of true over false alarms for every signal."""
    axes = _axes("% of absent nouns called present", "% of present nouns called present")
    for name, curve in sorted(presence.curves.items(), key=lambda item: -item[1].area.value):
        label = f"{name} ({100 * curve.area.value:.1f})"
        axes.plot(100 * curve.false, 100 * curve.true, label=label, linewidth=1.2)
    for rule, mark, words in (
        (presence.any_map, "k+", "any map above the base"),
        (presence.by_margin, "kx", "margin chosen on `val`"),
    ):
        axes.plot(100 * rule.false_alarms.value, 100 * rule.present.value, mark, markersize=10, label=words)
    axes.plot([0, 100], [0, 100], color="0.8", zorder=0)
    return _save(axes, file)


def splits(results: Results, file: Path) -> Path:
    """GT-known of every split under every spec."""
    axes = _axes("", "GT-known, %")
    names = list(dict.fromkeys(line.split for line in results.lines))
    specs = list(dict.fromkeys(line.spec.name for line in results.lines))
    width = 0.8 / len(specs)
    for rank, spec in enumerate(specs):
        lines = [line for line in results.lines if line.spec.name == spec]
        places = [names.index(line.split) + (rank - (len(specs) - 1) / 2) * width for line in lines]
        found = [line.figures.estimates["gt_known"] for line in lines]
        reach = [[100 * (one.value - one.low) for one in found], [100 * (one.high - one.value) for one in found]]
        axes.bar(places, [100 * one.value for one in found], width, yerr=reach, label=spec, capsize=2, ecolor="0.3")
    axes.set_xticks(range(len(names)), names, rotation=25, ha="right")
    return _save(axes, file)


def _axes(across: str, up: str) -> Axes:
    _, axes = plt.subplots(figsize=(7, 4.5))
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_ylim(0, 100)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    return axes


def _curves(axes: Axes, trials: Sequence[Trial], places: Sequence[float], style: str) -> None:
    for key, shade in SHADES.items():
        values = [100 * getattr(trial.merit, key) for trial in trials]
        label = NAMES[key] + (", published setting" if style == ":" else "")
        axes.plot(places, values, style, color=shade, label=label if values else None)


def _save(axes: Axes, file: Path) -> Path:
    axes.legend(frameon=False, fontsize=8)
    plt.savefig(file, dpi=110, bbox_inches="tight")  # the figure that `_axes` opened last is the one still open
    plt.close()
    return file
