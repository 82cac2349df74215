"""COCO's JSON: one document for a whole data set."""

from __future__ import annotations

from typing import Any

from runtime.interop.labels import Answers, Labelled, labelled, labels_of
from runtime.interop.masks import box_masks, outlines


def to_coco(answers: Answers, *, masks: bool = True) -> dict[str, Any]:
    """A data set for object detection; every annotation has a `score` too, so that the list serves as results as well."""
    pictures = labelled(answers)
    numbers = {label: number for number, label in enumerate(labels_of(pictures), start=1)}
    annotations: list[dict[str, Any]] = []
    for image_id, picture in enumerate(pictures, start=1):
        for annotation in _annotations(picture, numbers, masks):
            annotations.append({"id": len(annotations) + 1, "image_id": image_id, **annotation})
    return {
        "info": {"description": "found by vlscore"},
        "licenses": [],
        "images": [
            {"id": image_id, "file_name": picture.name, "width": picture.width, "height": picture.height}
            for image_id, picture in enumerate(pictures, start=1)
        ],
        "annotations": annotations,
        "categories": [{"id": number, "name": label, "supercategory": ""} for label, number in numbers.items()],
    }


def _annotations(picture: Labelled, numbers: dict[str, int], masks: bool) -> list[dict[str, Any]]:
    annotations = []
    for answer in picture.found:
        planes = box_masks(answer) if masks else [None] * len(answer)
        for box, plane in zip(answer, planes, strict=True):
            x0, y0, x1, y1 = box.xyxy
            annotations.append(
                {
                    "category_id": numbers[box.label],
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0) if plane is None else float(plane.sum()),
                    "segmentation": [] if plane is None else outlines(plane),
                    "iscrowd": 0,
                    "score": round(box.score, 4),
                }
            )
    return annotations
