"""The best and the worst cases of a split, drawn as users see them, with the true boxes in white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from bench.accuracy.judge import judge
from bench.accuracy.lab import Lab
from bench.accuracy.saliency import maker
from bench.accuracy.sheets import Sheet, Truth
from bench.world.nouns import nouns
from engine.spec import Spec
from runtime import Query
from runtime.answers import Answerer
from runtime.drawing import draw
from runtime.pictures import Pixels

SHOWN = 12
COLUMNS = 4


@dataclass(frozen=True, slots=True)
class Case:
    """One query on one picture, and the best overlap that it reached."""

    picture: int
    truth: Truth
    overlap: float


def draw_gallery(lab: Lab, split: str, spec: Spec, folder: Path) -> list[Path]:
    """Draw the best and the worst cases of a split; returns the two files."""
    folder.mkdir(parents=True, exist_ok=True)
    found = cases(lab.sheets(split, spec.geometry), spec, lab.logit_scale)
    ends = {"best": found[:SHOWN], "worst": found[::-1][:SHOWN]}
    return [sheet_of(lab, split, spec, chosen, folder / f"{name}.png") for name, chosen in ends.items()]


def cases(sheets: Sequence[Sheet], spec: Spec, logit_scale: float) -> list[Case]:
    """All queries of a split, the best first; equal ones in the order of the split."""
    overlaps = judge(sheets, maker(spec, logit_scale), spec, [spec.threshold]).best[:, 0]
    asked = [(sheet.picture, truth) for sheet in sheets for truth in sheet.truths]
    found = [Case(picture, truth, float(overlap)) for (picture, truth), overlap in zip(asked, overlaps, strict=True)]
    return sorted(found, key=lambda case: -case.overlap)


def sheet_of(lab: Lab, split: str, spec: Spec, chosen: Sequence[Case], file: Path) -> Path:
    """One panel per case."""
    rows = max(1, -(-len(chosen) // COLUMNS))
    figure, grid = plt.subplots(rows, COLUMNS, figsize=(3 * COLUMNS, 3.2 * rows), squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, case in zip(grid.flat, chosen, strict=False):
        axes.imshow(answered(lab, split, spec, case))
        axes.set_title(f"{nouns()[case.truth.noun]}: {case.overlap:.2f}", fontsize=10)
        for x0, y0, x1, y1 in case.truth.boxes.tolist():
            axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor="white", linestyle="--"))
    figure.tight_layout()
    figure.savefig(file, dpi=90)
    plt.close(figure)
    return file


def answered(lab: Lab, split: str, spec: Spec, case: Case) -> Pixels:
    """The picture of a case with the bundle's own answer drawn on it."""
    pixels = lab.examples(split)[case.picture].pixels
    scene, text = lab.shelf.load(pixels, spec.geometry), lab.localizer.text
    query = Query((nouns()[case.truth.noun],), text.named_templates(lab.options.templates))
    answerer = Answerer(lab.localizer.manifest, lab.localizer.answerer.session, spec)
    return draw(pixels, answerer.answer(scene, [query], text.embed([query])))
