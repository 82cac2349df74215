"""`python -m bench.frontier --model demo-rn`: what every way of saving passes costs in faithfulness and in accuracy.

Each way answers the same questions about pictures with known truth, end to end through `Localizer`, and is compared
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
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.accuracy.options import SPLITS
from bench.accuracy.statistics import mean, wilson
from bench.command_line import positive
from bench.world.read import read_split
from bench.world.splits import Example
from engine.metrics import best_iou, box_agreement
from engine.spec import DEFAULT
from runtime import Localization, Localizer

PICTURES = Path(__file__).parent / "world" / "pictures"
FOUND = 0.5


@dataclass(frozen=True, slots=True)
class Way:
    """How a Localizer is opened; `model` is a bundle, `name` what the table calls it."""

    name: str
    model: str | None
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a way costs and keeps; intervals are 95 %, resampled by pictures where pictures hold several questions."""

    name: str
    passes: float  # per picture and question
    agreement: tuple[float, float, float]  # of boxes with the exact ones
    gt_known: tuple[float, float, float]
    correlation: float  # of saliency with the exact one
    flips: float  # difference in the number of kept maps, as a share of all
    promised: float | None  # mean of the answers' own error estimates
    error: float  # mean difference of the maps, which the estimate is of
    seconds: float  # per picture, on a machine that may have been busy: a hint only


def ways(model: str | None, count: int, others: Sequence[str], precisions: Sequence[str]) -> list[Way]:
    """The exact way first, then fewer and fewer passes, then other bundles and precisions."""
    steps = [max(1, count // share) for share in (64, 32, 16, 8, 4)]
    fast = [Way(f"fast, {n} passes", model, {"preset": "fast", "passes": n, "refine": 0}) for n in steps[1:]]
    fast += [
        Way(f"fast, {n} + {m} for the question", model, {"preset": "fast", "passes": n, "refine": m})
        for n, m in ((steps[1], steps[1]), (steps[1], 3 * steps[1]), (steps[2], steps[2]), (steps[2], 3 * steps[2]))
    ]
    fast += [Way("fast (default)", model, {"preset": "fast"}), Way("fast, auto", model, {"preset": "fast", "passes": "auto"})]
    changed = [Way(f"exact, {one}", model, {"device": "openvino", "precision": one}) for one in precisions]
    changed += [Way(f"exact, {Path(one).name}", one, {}) for one in others]
    return [Way("exact", model, {}), *fast, Way("instant", model, {"preset": "instant"}), *changed]


def answers(way: Way, examples: Sequence[Example]) -> tuple[list[list[Localization]], float]:
    """One answer per thing shown, each asked alone, and the seconds per picture."""
    # What is asked for is there: a margin that says otherwise would hide how well its place was found.
    localizer = Localizer(way.model, spec=DEFAULT.replace(presence="any"), **way.options)
    localizer(examples[0].pixels, "a dog")  # loads the graphs
    started, found = time.perf_counter(), []
    for example in track(examples, way.name, transient=True):
        scene = localizer.encode(example.pixels)
        found.append([localizer.locate(scene, f"a {thing.noun}") for thing in example.things])
    return found, (time.perf_counter() - started) / len(examples)


def figures(
    name: str, asked: tuple[list[list[Localization]], float], exact: list[list[Localization]], examples: Sequence[Example]
) -> Figures:
    """Compare a way's answers with the exact ones and with the truth."""
    rows = [
        (place, mine, theirs, thing)
        for place, (found, wanted, example) in enumerate(zip(asked[0], exact, examples, strict=True))
        for mine, theirs, thing in zip(found, wanted, example.things, strict=True)
    ]
    pictures = np.array([place for place, *_ in rows])
    hits = [best_iou(mine.xyxy, np.array([thing.box], np.float32)) > FOUND for _, mine, _, thing in rows]
    promised = [mine.error for _, mine, _, _ in rows if mine.error is not None]
    return Figures(
        name=name,
        passes=float(np.mean([mine.passes for _, mine, _, _ in rows])),
        agreement=rounded(mean(np.array([box_agreement(a.xyxy, b.xyxy) for _, a, b, _ in rows]), pictures)),
        gt_known=rounded(wilson(sum(hits), len(hits))),
        correlation=float(np.mean([alike(a.map, b.map) for _, a, b, _ in rows])),
        flips=float(np.mean([abs(a.kept - b.kept) / a.maps for _, a, b, _ in rows])),
        promised=float(np.mean(promised)) if promised else None,
        error=float(np.mean([np.abs(a.map - b.map).mean() for _, a, b, _ in rows])),
        seconds=asked[1],
    )


def alike(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """The correlation of two maps; 0 where one is constant, unless both are."""
    if a.std() == 0 or b.std() == 0:
        return float(a.std() == b.std())
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


def rounded(estimate: Any) -> tuple[float, float, float]:  # noqa: ANN401 - any Estimate
    """Value, low and high."""
    value, low, high = estimate.to_list()
    return value, low, high


def show(found: Sequence[Figures], about: dict[str, Any]) -> None:
    """Print the table."""
    title = f"{about['model']}: {about['pictures']} pictures, {about['questions']} questions of `{about['split']}`"
    table = Table(title=title, title_justify="left")
    for column in (
        "way",
        "passes",
        "box agreement",
        "GT-known %",
        "correlation",
        "kept maps off",
        "error, promised",
        "error, true",
        "s",
    ):
        table.add_column(column, justify="left" if column == "way" else "right")
    for one in found:
        (agree, low, high), (hits, least, most) = one.agreement, one.gt_known
        table.add_row(
            *(one.name, f"{one.passes:.0f}", f"{agree:.3f} ({low:.3f}-{high:.3f})"),
            *(f"{100 * hits:.1f} ({100 * least:.1f}-{100 * most:.1f})", f"{one.correlation:.3f}", f"{100 * one.flips:.2f} %"),
            *("-" if one.promised is None else f"{one.promised:.4f}", f"{one.error:.4f}", f"{one.seconds:.2f}"),
        )
    Console(highlight=False, width=150).print(table)


def plot(found: Sequence[Figures], file: Path) -> None:
    """Draw the frontier: passes against agreement, and against GT-known."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4))
    for axis, name, title in zip(axes, ("agreement", "gt_known"), ("box agreement with exact", "GT-known"), strict=True):
        for one in found:
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
    """Colour, mark and legend of a way in the plot."""
    if name == "instant":
        return "tab:orange", "D", "instant"
    if name.startswith("exact"):
        return "tab:green", "s", "exact, in every precision"
    spent = name in ("fast (default)", "fast, auto") or name.endswith("for the question")
    return ("tab:blue", "o", "fast, refined for the question") if spent else ("tab:grey", "^", "fast, before any question")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, ask, compare, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.frontier", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--model", help="a bundle's name or folder (none: the model shipped with the package)")
    parser.add_argument("--other", action="append", default=[], metavar="BUNDLE", help="another bundle of the model (fp16, int8)")
    parser.add_argument("--precision", action="append", default=[], help="another precision of the passes, such as bf16")
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--limit", type=positive, default=100, help="pictures")
    parser.add_argument("--data", type=Path, default=PICTURES, help="a written test set")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--plot", type=Path, help="draw the frontier here")
    options = parser.parse_args(arguments)
    examples = list(read_split(options.data, options.split))[: options.limit]
    info = Localizer(options.model).info
    exact: list[list[Localization]] = []
    found = []
    for way in ways(options.model, info["maps"], options.other, options.precision):
        asked = answers(way, examples)
        exact = exact or asked[0]
        found.append(figures(way.name, asked, exact, examples))
    kept = ("model", "weights", "device", "backend", "precision", "batch", "maps", "spec")
    questions = sum(len(example.things) for example in examples)
    about = {**{name: info[name] for name in kept}, "split": options.split, "pictures": len(examples), "questions": questions}
    show(found, about)
    if options.json:
        options.json.write_text(
            json.dumps({"about": about, "ways": [asdict(one) for one in found]}, indent=1) + "\n", encoding="utf-8"
        )
    if options.plot:
        plot(found, options.plot)


if __name__ == "__main__":
    main()
