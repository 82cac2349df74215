"""The figures of a run as pictures, and its best and worst cases as users see them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.accuracy.evaluation import Evaluation
from bench.accuracy.judge import judge_boxes
from bench.accuracy.presence import Presence
from bench.accuracy.run import Results
from bench.accuracy.scored import Truth, saliency_under
from bench.accuracy.search import Best, Trial
from bench.world.nouns import nouns
from engine.spec import Spec
from runtime import Query
from runtime.answers import Answerer
from runtime.drawing import draw

SHADES = {"gt_known": "tab:blue", "first_box": "tab:orange", "box_iou": "tab:green"}
NAMES = {"gt_known": "GT-known", "first_box": "first box", "box_iou": "mean box IoU"}
SHOWN, COLUMNS = 12, 4  # panels of the gallery

Case = tuple[int, Truth, float]  # the picture's place, the noun asked for, the best overlap that it reached


def draw_all(results: Results, folder: Path) -> list[Path]:
    """Draw every figure that the results have something for; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    if results.splits:
        drawn.append(splits(results, folder / "splits.png"))
    if results.best:
        scale = float(results.about["logit_scale"])
        drawn.append(thresholds(results.best, results.published, results.pixel_curve, folder / "threshold.png"))
        drawn.append(temperatures(results.best, results.published, scale, folder / "temperature.png"))
    if results.presence:
        drawn.append(roc(results.presence, folder / "presence.png"))
    return drawn


def thresholds(best: Best, published: Best | None, pixels: dict[float, float], file: Path) -> Path:
    """Figures over the threshold, for the chosen spec and for the best published setting."""
    figure, axes = axes_in_percent("threshold, fraction of the maximum", "% of `val`")
    for one, style in ((best, "-"), (published, ":")):
        if one:
            curves(axes, one.thresholds, [trial.spec.threshold for trial in one.thresholds], style)
    axes.plot(list(pixels), [100 * value for value in pixels.values()], color="tab:red", label="pixel mIoU")
    axes.axvline(best.trial.spec.threshold, color="0.8", zorder=0)
    return save(figure, axes, file)


def temperatures(best: Best, published: Best | None, logit_scale: float, file: Path) -> Path:
    """Figures over the temperature, each at its best threshold, in multiples of 1 / logit scale."""
    figure, axes = axes_in_percent("temperature x logit scale", "% of `val`, each at its best threshold")
    axes.set_xscale("log")
    for one, style in ((best, "-"), (published, ":")):
        if one:
            curves(axes, one.temperatures, [trial.spec.tau(logit_scale) * logit_scale for trial in one.temperatures], style)
    axes.axvline(best.trial.spec.tau(logit_scale) * logit_scale, color="0.8", zorder=0)
    return save(figure, axes, file)


def roc(presence: Presence, file: Path) -> Path:
    """Shares of true over false alarms for every signal."""
    figure, axes = axes_in_percent("% of absent nouns called present", "% of present nouns called present")
    for name, curve in sorted(presence.curves.items(), key=lambda item: -item[1].area.value):
        label = f"{name} ({100 * curve.area.value:.1f})"
        axes.plot(100 * curve.false, 100 * curve.true, label=label, linewidth=1.2)
    rules = ((presence.any_map, "k+", "any map above the base"), (presence.by_margin, "kx", "margin chosen on `val`"))
    for rule, mark, words in rules:
        axes.plot(100 * rule.false_alarms.value, 100 * rule.present.value, mark, markersize=10, label=words)
    axes.plot([0, 100], [0, 100], color="0.8", zorder=0)
    return save(figure, axes, file)


def splits(results: Results, file: Path) -> Path:
    """GT-known of every split under every spec."""
    figure, axes = axes_in_percent("", "GT-known, %")
    names = list(dict.fromkeys(one.split for one in results.splits))
    specs = list(dict.fromkeys(one.spec.name for one in results.splits))
    width = 0.8 / len(specs)
    for rank, spec in enumerate(specs):
        shown = [one for one in results.splits if one.spec.name == spec]
        places = [names.index(one.split) + (rank - (len(specs) - 1) / 2) * width for one in shown]
        found = [one.figures.estimates["gt_known"] for one in shown]
        reach = [[100 * (one.value - one.low) for one in found], [100 * (one.high - one.value) for one in found]]
        axes.bar(places, [100 * one.value for one in found], width, yerr=reach, label=spec, capsize=2, ecolor="0.3")
    axes.set_xticks(range(len(names)), names, rotation=25, ha="right")
    return save(figure, axes, file)


def axes_in_percent(across: str, up: str) -> tuple[Figure, Axes]:
    """Empty axes from 0 to 100 %."""
    figure, axes = plt.subplots(figsize=(7, 4.5))
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_ylim(0, 100)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    return figure, axes


def curves(axes: Axes, trials: Sequence[Trial], places: Sequence[float], style: str) -> None:
    """The three merits of trials at their places."""
    for key, shade in SHADES.items():
        label = NAMES[key] + (", published setting" if style == ":" else "")
        axes.plot(places, [100 * getattr(trial.merit, key) for trial in trials], style, color=shade, label=label)


def save(figure: Figure, axes: Axes, file: Path) -> Path:
    """Write a figure with its legend."""
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=110, bbox_inches="tight")
    plt.close(figure)
    return file


def draw_gallery(evaluation: Evaluation, split: str, spec: Spec, folder: Path) -> list[Path]:
    """Draw the best and the worst cases of a split, the true boxes in white; returns the two files."""
    pictures = evaluation.scored(split, spec.geometry)
    saliency_of = saliency_under(spec, evaluation.logit_scale)
    reached = judge_boxes(pictures, saliency_of, spec, [spec.threshold]).best[:, 0].tolist()
    asked = [(scored.picture, truth) for scored in pictures for truth in scored.truths]
    cases = [(picture, truth, overlap) for (picture, truth), overlap in zip(asked, reached, strict=True)]
    cases.sort(key=lambda case: -case[2])
    ends = {"best": cases[:SHOWN], "worst": cases[::-1][:SHOWN]}
    return [draw_cases(evaluation, split, spec, chosen, folder / f"{name}.png") for name, chosen in ends.items()]


def draw_cases(evaluation: Evaluation, split: str, spec: Spec, cases: Sequence[Case], file: Path) -> Path:
    """One panel per case, with the bundle's own answer drawn on it."""
    text = evaluation.localizer.text
    answerer = Answerer(evaluation.localizer.manifest, evaluation.localizer.answerer.session, spec)
    rows = max(1, -(-len(cases) // COLUMNS))
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(3 * COLUMNS, 3.2 * rows), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, (picture, truth, overlap) in zip(grid.flat, cases, strict=False):
        pixels, noun = evaluation.examples(split)[picture].pixels, nouns()[truth.noun]
        scene = evaluation.scenes.load(pixels, spec.geometry)
        query = Query((noun,), text.named_templates(evaluation.settings.templates))
        axes.imshow(draw(pixels, answerer.answer(scene, [query], text.embed([query]))))
        axes.set_title(f"{noun}: {overlap:.2f}", fontsize=10)
        for x0, y0, x1, y1 in truth.boxes.tolist():
            axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor="white", linestyle="--"))
    figure.tight_layout()
    figure.savefig(file, dpi=90)
    plt.close(figure)
    return file
