"""`python -m bench.accuracy.frontier --model demo-rn`: what saving passes or precision costs in faithfulness and in accuracy.

Each setting answers the same questions about pictures with known truth, end to end through `Localizer`, and is compared
with the exact answers of the first model: boxes, saliency, kept maps, and the error that it promised itself.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

from bench.accuracy.evaluation import SPLITS
from bench.accuracy.statistics import mean, share
from bench.terminal import make_table, positive, wide_console, write_text
from bench.world.read import PICTURES, read_split
from bench.world.splits import Example
from engine.metrics import best_iou, box_agreement
from engine.metrics.boxes import FOUND
from engine.spec import DEFAULT
from runtime import Localization, Localizer

MANY = 256  # maps: with fewer, as transformers have, a larger share of them has to be run
Answers = list[list[Localization]]  # per picture, one per thing shown


@dataclass(frozen=True, slots=True)
class Setting:
    """How a Localizer is opened; `model` is a bundle, `name` what the table calls it."""

    name: str
    model: str | None
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a setting costs and keeps; intervals are 95 %, resampled by pictures where pictures hold several questions."""

    name: str
    passes: float  # per picture and question
    agreement: list[float]  # of boxes with the exact ones: value, low, high
    gt_known: list[float]
    correlation: float  # of saliency with the exact one
    flips: float  # difference in the number of kept maps, as a share of all
    promised: float | None  # mean of the answers' own error estimates
    error: float  # mean difference of the maps, which the estimate is of
    seconds: float  # per picture, on a machine that may have been busy: a hint only


def settings(model: str | None, count: int, others: Sequence[str], precisions: Sequence[str]) -> list[Setting]:
    """The exact one first, then fewer and fewer passes of `count` maps, then other bundles and precisions."""
    few, some, many = (max(2, count // share) for share in ((32, 16, 8) if count >= MANY else (6, 3, 2)))
    spent = [(0, few), (0, (few + some) // 2), (0, many)]
    named: dict[str, dict[str, Any]] = {"exact": {}, "instant": {"preset": "instant"}}
    named |= {f"fast, {n} + {m} for the question": {"preset": "fast", "passes": n, "refine": m} for n, m in spent}
    named |= {"fast (default)": {"preset": "fast"}, "fast, auto": {"preset": "fast", "passes": "auto"}}
    for precision in precisions:
        lower = {"device": "openvino", "precision": precision}
        named |= {f"exact, {precision}": lower, f"fast, {precision}": {"preset": "fast", **lower}}
    return [
        *(Setting(name, model, options) for name, options in named.items()),
        *(Setting(f"exact, {Path(other).name}", other, {}) for other in others),
    ]


def ask(setting: Setting, examples: Sequence[Example]) -> tuple[Answers, float]:
    """One answer per thing shown, each asked alone, and the seconds per picture."""
    # What is asked for is there: a margin that says otherwise would hide how well its place was found.
    localizer = Localizer(setting.model, spec=DEFAULT.replace(presence="any"), **setting.options)
    localizer(examples[0].pixels, "a dog")  # loads the graphs
    started, found = time.perf_counter(), []
    for example in track(examples, setting.name, transient=True):
        scene = localizer.encode(example.pixels)
        found.append([localizer.locate(scene, f"a {thing.noun}") for thing in example.things])
    return found, (time.perf_counter() - started) / len(examples)


def compare(name: str, answers: Answers, exact: Answers, examples: Sequence[Example], seconds: float = 0.0) -> Cost:
    """Hold a setting's answers against the exact ones and the truth."""
    rows = [
        (place, mine, theirs, thing)
        for place, (found, wanted, example) in enumerate(zip(answers, exact, examples, strict=True))
        for mine, theirs, thing in zip(found, wanted, example.things, strict=True)
    ]
    pictures = np.array([place for place, *_ in rows])
    hits = [best_iou(mine.xyxy, np.array([thing.box], np.float32)) > FOUND for _, mine, _, thing in rows]
    promised = [mine.error for _, mine, _, _ in rows if mine.error is not None]
    return Cost(
        name=name,
        passes=float(np.mean([mine.passes for _, mine, _, _ in rows])),
        agreement=mean(np.array([box_agreement(a.xyxy, b.xyxy) for _, a, b, _ in rows]), pictures).to_list(),
        gt_known=share(np.array(hits)).to_list(),
        correlation=float(np.mean([correlation(a.map, b.map) for _, a, b, _ in rows])),
        flips=float(np.mean([abs(a.kept - b.kept) / a.maps for _, a, b, _ in rows])),
        promised=float(np.mean(promised)) if promised else None,
        error=float(np.mean([np.abs(a.map - b.map).mean() for _, a, b, _ in rows])),
        seconds=seconds,
    )


def correlation(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """The correlation of two maps; 0 where one is constant, unless both are."""
    if a.std() == 0 or b.std() == 0:
        return float(a.std() == b.std())
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def show(costs: Sequence[Cost], about: dict[str, Any]) -> None:
    """Print the table."""
    title = f"{about['model']}: {about['pictures']} pictures, {about['questions']} questions of `{about['split']}`"
    columns = (
        "setting",
        "passes",
        "box agreement",
        "GT-known %",
        "correlation",
        "kept maps off",
        "error, promised",
        "error, true",
    )
    table = make_table(title, (*columns, "s"))
    for one in costs:
        (agree, low, high), (hits, least, most) = one.agreement, one.gt_known
        table.add_row(
            *(one.name, f"{one.passes:.0f}", f"{agree:.3f} ({low:.3f}-{high:.3f})"),
            *(f"{100 * hits:.1f} ({100 * least:.1f}-{100 * most:.1f})", f"{one.correlation:.3f}", f"{100 * one.flips:.2f} %"),
            *("-" if one.promised is None else f"{one.promised:.4f}", f"{one.error:.4f}", f"{one.seconds:.2f}"),
        )
    wide_console().print(table)


def plot(costs: Sequence[Cost], file: Path) -> None:
    """Draw the frontier: passes against agreement, and against GT-known."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for axis, name, title in zip(axes, ("agreement", "gt_known"), ("box agreement with exact", "GT-known"), strict=True):
        for one in costs:
            value, low, high = getattr(one, name)
            shade, mark, label = look(one.name)
            reach = [[max(0, value - low)], [max(0, high - value)]]
            named = label not in axis.get_legend_handles_labels()[1]
            axis.errorbar(one.passes, value, reach, fmt=mark, color=shade, capsize=2, label=label if named else None)
        axis.set_xscale("log", base=2)
        axis.set_xlabel("passes per picture and question")
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=7, loc="lower right")
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    plt.close(figure)


def look(name: str) -> tuple[str, str, str]:
    """Colour, mark and legend of a setting in the plot."""
    if name == "instant":
        return "tab:orange", "D", "instant"
    if name.startswith("exact"):
        return "tab:green", "s", "exact, in every precision"
    return "tab:blue", "o", "fast"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, ask, compare, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy.frontier", description=(__doc__ or "").partition("\n\n")[2])
    add = parser.add_argument
    add("--model", help="a bundle's name or folder (none: the model shipped with the package)")
    add("--other", action="append", default=[], metavar="BUNDLE", help="another bundle of the model (fp16, int8); may repeat")
    add("--precision", action="append", default=[], help="another precision of the passes, such as bf16; may repeat")
    add("--split", choices=SPLITS, default="test")
    add("--limit", type=positive, default=100, help="pictures")
    add("--data", type=Path, default=PICTURES, help="a written test set")
    add("--json", type=Path, help="write the figures here")
    add("--plot", type=Path, help="draw the frontier here")
    asked = parser.parse_args(arguments)
    examples = list(read_split(asked.data, asked.split))[: asked.limit]
    info = Localizer(asked.model).info
    answered = [
        (setting.name, *ask(setting, examples)) for setting in settings(asked.model, info["maps"], asked.other, asked.precision)
    ]
    exact = answered[0][1]
    costs = [compare(name, answers, exact, examples, seconds) for name, answers, seconds in answered]
    kept = ("model", "weights", "device", "backend", "precision", "batch", "maps", "spec")
    questions = sum(len(example.things) for example in examples)
    about = {**{name: info[name] for name in kept}, "split": asked.split, "pictures": len(examples), "questions": questions}
    show(costs, about)
    if asked.json:
        write_text(asked.json, json.dumps({"about": about, "settings": [asdict(one) for one in costs]}, indent=1) + "\n")
    if asked.plot:
        plot(costs, asked.plot)


if __name__ == "__main__":
    main()
