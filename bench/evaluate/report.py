"""The report of a run: JSON, Markdown and one page, each the same for the same records."""

from __future__ import annotations

import json
from argparse import Namespace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.accuracy.statistics import ROUNDS, SEED, Estimate
from bench.evaluate.data import DataSet
from bench.evaluate.figures import Figures
from bench.evaluate.judge import Kernels
from bench.evaluate.published import beside
from engine.spec import Spec
from runtime import Localizer
from runtime.files import write_atomically

TITLES = {
    "gt_known": ("GT-known Loc", "a box of the true label overlaps a true box by more than 0.5; any pair counts"),
    "top1_loc": ("Top-1 Loc", "the same, and the true label is the best of all labels"),
    "top5_loc": ("Top-5 Loc", "the same, and it is among the best five"),
    "top1_cls": ("top-1 class", "the true label is the best of all labels for the whole picture"),
    "top5_cls": ("top-5 class", "it is among the best five"),
    "box_iou": ("mean box IoU", "mean over questions of the best overlap of any pair; no box is 0"),
    "first_box": ("first box", "as GT-known, by the box ranked first alone"),
    "gt_known_inclusive": ("GT-known, inclusive", "as GT-known, with the last row and column part of every box"),
    "gt_known_best_threshold": (
        "GT-known, best threshold",
        "as GT-known, at the best threshold of 0.05 to 0.95 for this very split",
    ),
    "gt_known_whole": ("GT-known of the whole picture", "what the trivial answer reaches, one box around everything"),
    "boxes_per_query": ("boxes per question", ""),
    "max_box_acc": (
        "MaxBoxAcc",
        "the largest contour overlaps by at least 0.5, at the best of 1000 thresholds; 224 x 224, inclusive",
    ),
    "max_box_acc_v2": ("MaxBoxAccV2", "any contour; mean over overlaps 0.3, 0.5, 0.7, each at its best threshold"),
    "max_box_acc_any_0.3": ("  at 0.3", ""),
    "max_box_acc_any_0.5": ("  at 0.5", ""),
    "max_box_acc_any_0.7": ("  at 0.7", ""),
    "pxap": ("PxAP", "area under precision over recall of all pixels of the split"),
    "p_iou": ("pIoU", "the best IoU of all pixels of the split at one value"),
    "mean_iou_best_level": ("mean IoU, best level", "IoU of each picture, averaged, at the best of 100 levels (CocoGlide study)"),
    "mean_f1_best_level": ("mean F1, best level", "the same of F1"),
    "segments_miou": ("mIoU of classes", "maps compete with a constant background; mean over classes, best background of 60"),
    "pointing": ("pointing", "the brightest pixel lies in the mask"),
    "pointing_15px": ("pointing, 15 px", "or at most 15 pixels away, as published"),
    "insertion": ("insertion", "area under the cosine while the brightest pixels come into the blurred picture; high is good"),
    "deletion": ("deletion", "area under the cosine while they go out of the picture; low is good"),
    "energy": ("energy", "share of the map's sum that lies in the mask"),
}
INTERVALS = (
    f"In brackets: 95 % intervals; Wilson's for shares, else a bootstrap over pictures ({ROUNDS} rounds, seed {SEED}). Where a "
    "threshold was chosen on the same pictures, the interval does not cover that choice."
)


def about(asked: Namespace, data: DataSet, spec: Spec, kernels: Kernels, localizer: Localizer | None) -> dict[str, Any]:
    """What a run is; a run with anything else of it is another run."""
    info = {} if localizer is None else localizer.info
    kept = ("model", "weights", "trained", "sha256", "precision", "maps")
    return {
        "dataset": data.name,
        "data": data.about,
        "listed": len(data.keys),
        "answers": {"folder": str(asked.maps)} if localizer is None else {name: info[name] for name in kept if name in info},
        "method": asked.method,
        "windows": asked.windows,
        "affinity": asked.affinity,
        "preset": asked.preset,
        "templates": asked.templates or "the method's own",
        "classify": (asked.classifier or True) if asked.classify else False,
        "together": asked.together,
        "spec": spec.to_dict(),
        "protocols": list(asked.protocols),
        "grid": {"interpolations": list(kernels.interpolations), "sides": list(kernels.sides)}
        if "grid" in asked.protocols
        else {},
        "versions": {"vlscore": version("vlscore"), "numpy": version("numpy"), "opencv": version("opencv-python-headless")},
    }


def write_report(
    out: Path, begun: dict[str, Any], counted: dict[str, Any], figures: Figures, records: dict[str, Any], data: DataSet
) -> list[Path]:
    """Write report.json, report.md and report.html; returns the files."""
    from bench.evaluate.page import to_html  # here: a run that is killed before its report needs no matplotlib

    whole = {"run": begun, "counts": counted, **figures.to_dict(), "published": beside(begun, figures.values)}
    files = {
        "report.json": json.dumps(whole, indent=1) + "\n",
        "report.md": to_markdown(begun, counted, figures),
        "report.html": to_html(begun, counted, figures, records, data),
    }
    for name, text in files.items():
        write_atomically(out / name, text.encode())
    return [out / name for name in files]


def percent(one: Estimate, name: str) -> str:
    """A figure with its interval; counts stay as they are, shares become per cent."""
    if name == "boxes_per_query":
        return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f})"
    return f"{100 * one.value:.2f} ({100 * one.low:.2f} to {100 * one.high:.2f})"


def headline(begun: dict[str, Any], counted: dict[str, Any]) -> str:
    """What was judged, in a sentence."""
    answers = begun.get("answers", {})
    who = f"maps in {answers['folder']}" if "folder" in answers else f"{answers.get('model')} ({answers.get('weights')})"
    part = "" if counted["pictures"] + counted["skipped"] >= counted["of"] else f" (unfinished: of {counted['of']})"
    left = f", {counted['skipped']} left out" if counted["skipped"] else ""
    return (
        f"{begun.get('dataset')}: {counted['pictures']} pictures{part}, {counted['questions']} questions{left}; {who}, "
        f"method {begun.get('method')}, preset {begun.get('preset')}"
    )


def to_markdown(begun: dict[str, Any], counted: dict[str, Any], figures: Figures) -> str:
    """The report as text."""
    lines = [f"# {headline(begun, counted)}", "", "| figure | % (95 %) | what it is |", "|---|---|---|"]
    for name, (title, words) in TITLES.items():
        if name in figures.estimates:
            lines.append(f"| {title} | {percent(figures.estimates[name], name)} | {words} |")
    lines += ["", INTERVALS, ""]
    if figures.chosen:
        lines += ["Chosen, or found on the way:", "", *(f"- {name}: {value}" for name, value in figures.chosen.items()), ""]
    for title, rows in beside(begun, figures.values).items():
        lines += [f"## {title}", "", *rows, ""]
    for key, reason in counted["skipped_examples"].items():
        lines.append(f"- left out `{key}`: {reason}")
    spec = begun.get("spec", {})
    lines += ["", "Spec: " + ", ".join(f"{name} {value}" for name, value in spec.items() if name != "name"), ""]
    lines += ["Versions: " + ", ".join(f"{name} {value}" for name, value in begun.get("versions", {}).items()), ""]
    return "\n".join(lines)
