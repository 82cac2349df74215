"""One scene, the same questions, several models and presets: a picture of what each sees.

python -m bench.accuracy.models --split crowd --index 4 --out bench/figures/models.png
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import Rectangle

from bench.accuracy.options import PICTURES, SPLITS
from bench.world.read import read_split
from bench.world.splits import Example
from engine.metrics import best_iou
from runtime import Localization, Localizer
from runtime.drawing import draw

WAYS = ("demo-rn:exact:default", "demo-rn:instant:default", "demo-vit:exact:default", "demo-rn:exact:paper")


def ask(way: str, example: Example) -> list[Localization]:
    """What a way (`model:preset:spec`) answers to every noun of a scene, and to one that it does not show."""
    model, preset, spec = way.split(":")
    return Localizer(model, preset=preset, spec=spec)(example.pixels, questions(example))


def questions(example: Example) -> list[str]:
    """The nouns of a scene, then the absent ones."""
    return [*dict.fromkeys(thing.noun for thing in example.things), *example.absent]


def panels(example: Example, ways: Sequence[str], file: Path) -> Path:
    """A row per way, a column per question; the true boxes are dashed, the title of a panel is its overlap."""
    asked = questions(example)
    shape = (len(ways), len(asked))
    figure, grid = plt.subplots(*shape, figsize=(2.6 * shape[1], 2.8 * shape[0]), squeeze=False)
    for row, way in zip(grid, ways, strict=True):
        for axes, noun, found in zip(row, asked, ask(way, example), strict=True):
            axes.imshow(draw(example.pixels, found))
            truth = [thing.box for thing in example.things if thing.noun == noun]
            overlap = f"{best_iou(found.xyxy, truth):.2f}" if truth else "not there"
            axes.set_title(f"{noun}: {overlap}", fontsize=9)
            axes.set_xticks([])
            axes.set_yticks([])
            for x0, y0, x1, y1 in truth:
                axes.add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, fill=False, edgecolor="white", linestyle="--"))
        row[0].set_ylabel(way.replace(":", "\n"), fontsize=9)
    figure.tight_layout()
    figure.savefig(file, dpi=80)
    plt.close(figure)
    return file


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--split", choices=SPLITS, default="crowd")
    parser.add_argument("--index", type=int, default=0, help="which scene of the split")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), metavar="MODEL:PRESET:SPEC")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    print(f"wrote {panels(list(read_split(PICTURES, chosen.split))[chosen.index], chosen.ways, chosen.out)}")


if __name__ == "__main__":
    main()
