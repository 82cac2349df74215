"""From the records of a run to its figures: one function for each protocol, each figure with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from bench.accuracy.statistics import Estimate, mean, resampled, share
from bench.evaluate.judge import FRACTIONS, LEVELS, Kernels
from bench.evaluate.records import unpacked
from engine.metrics import curves
from engine.metrics.boxes import FOUND
from engine.metrics.max_box import OVERLAPS, thresholds_of
from engine.metrics.pixels import peak_iou, pxap
from engine.metrics.segments import THRESHOLDS, mean_iou

Records = Mapping[str, dict[str, Any]]


@dataclass(slots=True)
class Figures:
    """Figures by name, curves that reports draw, and what was chosen on the way."""

    estimates: dict[str, Estimate] = field(default_factory=dict)
    curves: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    chosen: dict[str, Any] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, float]:
        """The figures alone."""
        return {name: one.value for name, one in self.estimates.items()}

    def to_dict(self) -> dict[str, Any]:
        """Plain values: each figure as [value, low, high]."""
        figures = {name: one.to_list() for name, one in self.estimates.items()}
        return {"figures": figures, "chosen": self.chosen, "curves": self.curves}


def figures_of(records: Records, kernels: Kernels, labels: int) -> Figures:
    """Everything that the records have evidence for."""
    found = Figures()
    things = [(place, thing) for place, record in enumerate(records.values()) for thing in record.get("things", ())]
    for name, add in EVIDENCE:
        mine = [(place, thing) for place, thing in things if name in thing]
        if mine:
            add(found, np.array([place for place, _ in mine]), [thing for _, thing in mine])
    add_segments(found, [record["segments"] for record in records.values() if "segments" in record], labels)
    add_presence(found, records)
    tried = [(key, thing["grid"]) for key, record in records.items() for thing in record.get("things", ()) if "grid" in thing]
    add_grid(found, tried, kernels)
    return found


def add_boxes(found: Figures, pictures: NDArray[np.int64], things: list[dict[str, Any]]) -> None:
    """The box protocol: success above 0.5 by any pair of boxes, at the spec's threshold and at many."""
    table = np.array([unpacked(thing["boxes"]["overlaps"]) for thing in things])  # (N, thresholds and the spec's own, 4)
    best, first, inclusive, count = (table[:, -1, column] for column in range(4))
    found.estimates["gt_known"] = share(best > FOUND)
    if all("rank" in thing for thing in things):
        rank = np.array([thing["rank"] for thing in things])
        for k in (1, 5):
            found.estimates[f"top{k}_loc"] = share((best > FOUND) & (rank < k))
        for k in (1, 5):
            found.estimates[f"top{k}_cls"] = share(rank < k)
    found.estimates["box_iou"] = mean(best, pictures)
    found.estimates["first_box"] = share(first > FOUND)
    found.estimates["gt_known_inclusive"] = share(inclusive > FOUND)
    found.estimates["gt_known_whole"] = share(np.array([thing["boxes"]["whole"] for thing in things]) > FOUND)
    found.estimates["boxes_per_query"] = mean(count, pictures)
    swept = table[:, :-1]
    found.curves["gt_known_by_threshold"] = {
        "threshold": list(FRACTIONS),
        "gt_known": rounded((swept[..., 0] > FOUND).mean(axis=0)),
        "box_iou": rounded(swept[..., 0].mean(axis=0)),
    }
    at = int((swept[..., 0] > FOUND).mean(axis=0).argmax())
    found.estimates["gt_known_best_threshold"] = share(swept[:, at, 0] > FOUND)
    found.chosen["gt_known_best_threshold"] = FRACTIONS[at]


def add_max_box(found: Figures, pictures: NDArray[np.int64], things: list[dict[str, Any]]) -> None:
    """MaxBoxAcc (the largest contour, at least 0.5) and V2 (any contour, mean over 0.3, 0.5 and 0.7)."""
    thresholds = thresholds_of()
    bits = np.array([unpacked(thing["maxbox"]) for thing in things])
    hits = np.unpackbits(bits, axis=-1, count=len(thresholds))  # (N, largest or any, overlaps, thresholds)
    rates = hits.mean(axis=0)
    best = rates.argmax(axis=-1)
    found.estimates["max_box_acc"] = share(hits[:, 0, 1, best[0, 1]])
    each = np.stack([hits[:, 1, place, best[1, place]] for place in range(len(OVERLAPS))], axis=1)
    found.estimates["max_box_acc_v2"] = mean(each.mean(axis=1), pictures)
    for place, least in enumerate(OVERLAPS):
        found.estimates[f"max_box_acc_any_{least:g}"] = share(each[:, place])
        found.chosen[f"max_box_acc_any_{least:g}"] = round(float(thresholds[best[1, place]]), 3)
    found.curves["max_box_acc_by_threshold"] = {
        "threshold": rounded(thresholds[::10]),
        "largest_0.5": rounded(rates[0, 1, ::10]),
        **{f"any_{least:g}": rounded(rates[1, place, ::10]) for place, least in enumerate(OVERLAPS)},
    }


def add_pixels(found: Figures, pictures: NDArray[np.int64], things: list[dict[str, Any]]) -> None:
    """PxAP and pIoU of the split; IoU, precision, recall and F1 of each picture at 100 levels; pointing and energy."""
    rows = [thing["pixels"] for thing in things]
    values = np.array([unpacked(row["values"]) for row in rows])
    tables = per_picture(values, pictures)
    found.estimates["pxap"], found.estimates["p_iou"] = resampled(tables, pxap), resampled(tables, peak_iou)
    hits, above = np.moveaxis(np.array([unpacked(row["levels"]) for row in rows]).astype(np.int64), 1, 0)
    true = np.array([row["true"] for row in rows])[:, None]
    shares = {
        "iou": ratio(hits, above + true - hits),
        "precision": ratio(hits, above),
        "recall": ratio(hits, np.broadcast_to(true, hits.shape)),
        "f1": ratio(2 * hits, above + true),
    }
    means = {name: rows_.mean(axis=0) for name, rows_ in shares.items()}
    for name, rows_ in shares.items():
        at = int(means[name].argmax())
        if name in ("iou", "f1"):
            found.estimates[f"mean_{name}_best_level"] = mean(rows_[:, at], pictures)
            found.chosen[f"mean_{name}_best_level"] = round(float(LEVELS[at]), 4)
    found.curves["by_level"] = {"level": rounded(LEVELS), **{name: rounded(row) for name, row in means.items()}}
    inside, outside = np.cumsum(values.sum(axis=0)[:, ::-1], axis=1)
    some = int(np.flatnonzero(inside + outside)[0])  # above, nothing was found
    steps = np.unique(np.linspace(some, len(inside) - 1, 101).astype(int))
    found.curves["pixels_precision_recall"] = {
        "recall": rounded(inside[steps] / inside[-1]),
        "precision": rounded(ratio(inside[steps], (inside + outside)[steps])),
    }
    found.estimates["pointing"] = share(np.array([row["points"] for row in rows]))
    found.estimates["pointing_15px"] = share(np.array([row["points_near"] for row in rows]))
    found.estimates["energy"] = mean(np.array([row["energy"] for row in rows]), pictures)


def add_faithful(found: Figures, pictures: NDArray[np.int64], things: list[dict[str, Any]]) -> None:
    """Areas under similarity while pixels come and go, the brightest first: high for insertion, low for deletion."""
    steps: dict[str, list[float]] = {}
    for name in ("insertion", "deletion"):
        rows = np.array([thing["faithful"][name] for thing in things])
        found.estimates[name] = mean(np.array([curves.area_under(row) for row in rows]), pictures)
        steps = steps or {"share of pixels": rounded(np.linspace(0, 1, rows.shape[1]))}
        steps[name] = rounded(rows.mean(axis=0))
    found.curves["faithful"] = steps


EVIDENCE = (("boxes", add_boxes), ("maxbox", add_max_box), ("pixels", add_pixels), ("faithful", add_faithful))


def add_segments(found: Figures, rows: list[dict[str, Any]], labels: int) -> None:
    """mIoU of localisation maps over the classes that the split has, the background level swept; the best is reported."""
    if not rows:
        return
    whole = np.zeros((labels + 1, 3, len(THRESHOLDS)), np.int64)
    for row in rows:
        whole[row["classes"]] += by_class(row)
    present = whole[:, 2, 0] > 0
    curve = mean_iou(whole[present, 0], whole[present, 1], whole[present, 2, 0])
    at = int(curve.argmax())
    tables = np.zeros((len(rows), labels + 1, 3))
    for place, row in enumerate(rows):
        tables[place, row["classes"]] = by_class(row)[..., at]

    def at_best(table: NDArray[np.float64]) -> float:
        drawn = table[:, 2] > 0  # a class that a resampled split does not have is not one of its classes
        return float(mean_iou(table[drawn, :1], table[drawn, 1:2], table[drawn, 2])[0])

    found.estimates["segments_miou"] = resampled(tables, at_best)
    found.chosen["segments_miou"] = {"background": THRESHOLDS[at], "classes": int(present.sum())}
    found.curves["segments_miou_by_background"] = {"background": list(THRESHOLDS), "miou": rounded(curve)}


def by_class(row: dict[str, Any]) -> NDArray[np.int64]:
    """Right, given and true pixels (C, 3, backgrounds) of the classes of one picture."""
    right, given = unpacked(row["counts"]).astype(np.int64)
    true = np.broadcast_to(np.array(row["true"])[:, None], right.shape)
    return np.stack([right, given, true], axis=1)


def add_presence(found: Figures, records: Records) -> None:
    """How well margin and similarity tell labels that are there from labels that are not."""
    there = [thing for record in records.values() if record.get("absent") for thing in record["things"]]
    strange = [thing for record in records.values() for thing in record.get("absent", ())]
    if not strange or any(thing["margin"] is None for thing in (*there, *strange)):
        return
    truth = np.array([True] * len(there) + [False] * len(strange))
    for name in ("margin", "similarity"):
        values = np.array([thing[name] for thing in (*there, *strange)])
        curve = curves.roc(values, truth)
        found.chosen[f"presence_{name}_auc"] = round(curve.area, 5)
        found.chosen[f"presence_{name}_average_precision"] = round(curves.precision_recall(values, truth).area, 5)
        found.curves[f"presence_{name}"] = {"false": rounded(curve.across), "true": rounded(curve.up)}


def add_grid(found: Figures, rows: list[tuple[str, dict[str, Any]]], kernels: Kernels) -> None:
    """The best interpolation, morphology and level: on all pictures, as published, and chosen on one half for the other."""
    if not rows:
        return
    halves = np.array([crc32(key.encode()) % 2 for key, _ in rows])
    sums = np.zeros((2, *unpacked(rows[0][1]).shape))
    for half, (_, row) in zip(halves, rows, strict=True):
        sums[half] += unpacked(row)
    counts = np.bincount(halves, minlength=2)
    whole = sums.sum(axis=0) / len(rows)

    def setting(table: NDArray[np.float64]) -> tuple[tuple[int, ...], dict[str, object]]:
        at = tuple(int(place) for place in np.unravel_index(int(table.argmax()), table.shape))
        words = (kernels.interpolations[at[0]], kernels.sides[at[1]], kernels.sides[at[2]], round(float(LEVELS[at[3]]), 4))
        return at, dict(zip(("interpolation", "dilate", "erode", "level"), words, strict=True))

    best, words = setting(whole)
    plain = whole[kernels.interpolations.index("bilinear"), 0, 0].max() if 0 in kernels.sides else float("nan")
    found.chosen["grid_all"] = {"mean_iou": round(float(whole[best]), 5), **words, "without_morphology": round(float(plain), 5)}
    for half in (0, 1) if counts.min() else ():
        at, words = setting(sums[half] / counts[half])
        found.chosen[f"grid_chosen_on_half_{half}"] = {
            "held_out": round(float(sums[1 - half][at] / counts[1 - half]), 5),
            **words,
        }


def per_picture(rows: NDArray[Any], pictures: NDArray[np.int64]) -> NDArray[np.float64]:
    """Rows (N, ...) of queries summed by the pictures that they belong to."""
    _, place = np.unique(pictures, return_inverse=True)
    tables = np.zeros((int(place.max()) + 1, *rows.shape[1:]))
    np.add.at(tables, place, rows)
    return tables


def ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """A quotient that is 0 where there is nothing."""
    return np.asarray(np.divide(part, whole, out=np.zeros(part.shape), where=whole > 0))


def rounded(values: NDArray[Any]) -> list[float]:
    """Plain numbers for JSON."""
    return [round(float(value), 5) for value in values]
