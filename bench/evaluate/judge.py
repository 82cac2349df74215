"""One picture's answers held against its truth: the evidence that every protocol's figures are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.evaluate.answers import Answer, Look, Seen
from bench.evaluate.data import DataError, Mask, Sample, Thing
from bench.evaluate.records import packed
from engine.boxes import find_boxes
from engine.metrics import curves, iou, pixels
from engine.metrics.max_box import OVERLAPS, SIDE, max_box, resized_boxes, thresholds_of
from engine.metrics.segments import IGNORED, label_counts, stretched
from engine.morphology import morph
from engine.spec import Interpolation, Spec

PROTOCOLS = ("boxes", "maxbox", "pixels", "segments", "presence", "grid", "faithful")
FRACTIONS = tuple(round(0.05 * step, 2) for step in range(1, 20))  # of the maximum; the published 0.55, 0.60, 0.65 are there
LEVELS = np.linspace(0, 1, 100).astype(np.float32)  # of the CocoGlide study, both ends
THUMB = 28
STEPS = 10  # of insertion and deletion, two passes each
TOLERANCE = 15.0  # pixels, of the published pointing game


@dataclass(frozen=True, slots=True)
class Kernels:
    """What the grid search tries: every interpolation, with every pair of a dilation and an erosion (0: none)."""

    interpolations: tuple[str, ...] = ("nearest", "bilinear", "bicubic")
    sides: tuple[int, ...] = (0, *range(41, 62, 2))


def judge(sample: Sample, seen: Seen, spec: Spec, protocols: Sequence[str], kernels: Kernels) -> dict[str, Any]:
    """All that the protocols need to know of one picture; what its truth does not hold is left out."""
    check_masks(sample)
    shown = [thing.label for thing in sample.things]
    record: dict[str, Any] = {"things": []}
    for thing, answer in zip(sample.things, seen.there, strict=True):
        entry: dict[str, Any] = {"label": thing.label, "margin": answer.margin, "similarity": answer.similarity}
        if seen.similarities is not None:
            strange = np.delete(seen.similarities, shown)
            entry["rank"] = int((strange > seen.similarities[thing.label]).sum())
        if "faithful" in protocols and seen.look is not None:
            entry["faithful"] = faithful(answer, seen.look)
        record["things"].append({**entry, **evidence(sample, thing, answer, spec, protocols, kernels)})
    if "presence" in protocols:
        record["absent"] = [{"label": one.label, "margin": one.margin, "similarity": one.similarity} for one in seen.absent]
    if "segments" in protocols and not sample.on_grid and all(thing.mask is not None for thing in sample.things):
        record["segments"] = segments_of(sample, seen.there)
    return record


def check_masks(sample: Sample) -> None:
    """Refuse masks that lie elsewhere than they should."""
    masks, wanted = [*(thing.mask for thing in sample.things), sample.ignore], (SIDE, SIDE) if sample.on_grid else sample.hw
    odd = [mask.shape for mask in masks if mask is not None and mask.shape != wanted]
    if odd:
        raise DataError(f"`{sample.key}` needs masks of {wanted} pixels and has one of {odd[0]}")


def evidence(
    sample: Sample, thing: Thing, answer: Answer, spec: Spec, protocols: Sequence[str], kernels: Kernels
) -> dict[str, Any]:
    """The evidence of one thing."""
    found: dict[str, Any] = {}
    if "boxes" in protocols or "maxbox" in protocols:
        boxes = thing.boxes if thing.boxes is not None else box_around(thing.mask, sample)
        if "boxes" in protocols:
            found["boxes"] = judge_boxes(answer, boxes, spec)
        if "maxbox" in protocols:
            truth = resized_boxes(boxes - np.array([0, 0, 1, 1]), sample.hw)  # as annotated: the last row and column belong
            overlaps = max_box(answer.scores(), truth, thresholds_of())
            bits = [[rows >= least for least in OVERLAPS] for rows in (overlaps.largest, overlaps.any)]
            found["maxbox"] = packed(np.packbits(np.array(bits), axis=-1))
    if thing.mask is not None and "pixels" in protocols:
        found["pixels"] = judge_pixels(answer, thing.mask, sample)
    if thing.mask is not None and "grid" in protocols:
        found["grid"] = packed(grid_of(answer, thing.mask, kernels))
    return found


def box_around(mask: Mask | None, sample: Sample) -> NDArray[np.float64]:
    """The box of a thing that only its mask tells of, in the picture's pixels."""
    if mask is None or not mask.any():
        raise DataError(f"`{sample.key}` has neither a box nor a mask")
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    (height, width), (tall, wide) = sample.hw, mask.shape
    corners = [[columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]]
    return np.asarray(np.array(corners) * np.array([width / wide, height / tall, width / wide, height / tall]))


def judge_boxes(answer: Answer, truth: NDArray[np.float64], spec: Spec) -> dict[str, Any]:
    """Best and first overlap and number of boxes at every threshold, and what a report shows of the spec's own."""
    saliency = answer.saliency(spec.interpolation)
    rows = []
    for fraction in (*FRACTIONS, spec.threshold):
        boxes = find_boxes(saliency, spec.replace(threshold=fraction, cut="peak")).xyxy
        table = iou(boxes, truth)
        both = iou(boxes - np.array([0, 0, 1, 1]), truth - np.array([0, 0, 1, 1]), inclusive=True)
        rows.append([table.max(initial=0.0), table[:1].max(initial=0.0), both.max(initial=0.0), len(boxes)])
    thumb = cv2.resize(saliency, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
    return {
        "overlaps": packed(np.array(rows)),
        "whole": float(iou([[0, 0, saliency.shape[1], saliency.shape[0]]], truth).max()),  # the trivial answer
        "found": np.round(boxes[:20], 1).tolist(),
        "truth": np.round(truth[:20], 1).tolist(),
        "thumb": packed(np.rint(255 * np.clip(thumb, 0, 1)).astype(np.uint8)),
    }


def judge_pixels(answer: Answer, mask: Mask, sample: Sample) -> dict[str, Any]:
    """Counts by value and by level, the brightest pixel, and the energy inside."""
    ignore = sample.ignore
    saliency: NDArray[np.floating] = answer.scores() if sample.on_grid else np.clip(answer.saliency(), 0, 1)
    known = saliency if ignore is None else np.where(ignore & ~mask, -1, saliency)  # below every level
    level = pixels.overlap_above(known, mask, LEVELS)
    return {
        "values": packed(pixels.value_counts(saliency, mask, ignore).astype(np.int32)),
        "levels": packed(np.stack([level.hits, level.found]).astype(np.int32)),
        "true": level.true,
        "points": pixels.points_at(saliency, mask),
        "points_near": pixels.points_at(saliency, mask, TOLERANCE),
        "energy": pixels.energy_inside(saliency, mask),
    }


def faithful(answer: Answer, look: Look) -> dict[str, list[float]]:
    """Similarities while the brightest pixels come first into a blurred picture, and while they go first out of the sharp one."""
    side = 0.05 * min(look.pixels.shape[:2])
    blurred = np.asarray(cv2.GaussianBlur(look.pixels, (0, 0), side), np.uint8)
    masks = [mask[..., None] for mask in curves.brightest_first(answer.saliency(), STEPS)]
    come, go = ([np.where(mask, *pair) for mask in masks] for pair in ((look.pixels, blurred), (look.blank, look.pixels)))
    told = {"insertion": come, "deletion": go}
    return {name: [round(look.similarity(each, answer.label), 6) for each in pictures] for name, pictures in told.items()}


def segments_of(sample: Sample, answers: Sequence[Answer]) -> dict[str, Any]:
    """Counts of classes of the whole picture; where things overlap, the later label wins."""
    truth = np.zeros(sample.hw, np.int64)
    for thing in sample.things:
        if thing.mask is not None:
            truth[thing.mask] = thing.label + 1
    if sample.ignore is not None:
        truth[sample.ignore & (truth == 0)] = IGNORED
    maps = np.stack([stretched(answer.saliency()) for answer in answers])
    found = label_counts(maps, [answer.label + 1 for answer in answers], truth)
    counts = packed(np.stack([found.right, found.given]).astype(np.int32))
    return {"classes": found.classes, "counts": counts, "true": found.true.tolist()}


def grid_of(answer: Answer, mask: Mask, kernels: Kernels) -> NDArray[np.float32]:
    """IoU (interpolations, dilations, erosions, levels) with a mask; each morphology is computed once for all levels."""
    table = np.zeros((len(kernels.interpolations), len(kernels.sides), len(kernels.sides), len(LEVELS)), np.float32)
    for place, interpolation in enumerate(kernels.interpolations):
        saliency = answer.saliency(cast("Interpolation", interpolation), mask.shape)
        for row, dilate in enumerate(kernels.sides):
            dilated = morph(saliency, dilate, 0)
            for column, erode in enumerate(kernels.sides):
                table[place, row, column] = pixels.overlap_above(morph(dilated, 0, erode), mask, LEVELS).iou()
    return table
