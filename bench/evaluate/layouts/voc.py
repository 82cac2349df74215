"""PASCAL VOC 2012 (and 2007), as its development kit unpacks."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np

from bench.evaluate.data import DataError, DataSet, Sample, Thing, find_one, lines_of, need, open_levels, open_pixels

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog", "horse",
    "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv monitor",
)  # fmt: skip
IGNORED = 255


def voc(root: Path, split: str = "val", masks: bool = True) -> DataSet:
    """The pictures of a split: those with masks (ImageSets/Segmentation), or all with boxes alone (ImageSets/Main)."""
    base = find_one(root, ("VOCdevkit/VOC2012", "VOC2012", "VOCdevkit/VOC2007", "VOC2007", "."), "PASCAL VOC's development kit")
    listed = base / "ImageSets" / ("Segmentation" if masks else "Main") / f"{split}.txt"
    keys = tuple(line.split()[0] for line in lines_of(listed, "the names of a split's pictures"))
    if not keys:
        raise DataError(f"`{listed}` is empty: expected the names of a split's pictures")
    plain = [name.replace(" ", "") for name in CLASSES]

    def read(place: int) -> Sample:
        key = keys[place]
        hw, boxes = _boxes(base / "Annotations" / f"{key}.xml", plain)
        truth = open_levels(need(base / "SegmentationClass" / f"{key}.png", "a mask of VOC")) if masks else None
        if truth is not None and truth.shape != hw:
            raise DataError(f"the mask of `{key}` has {truth.shape} pixels, its XML says {hw}")
        shown = set(boxes) | ({int(each) - 1 for each in np.unique(truth) if 0 < each <= 20} if truth is not None else set())
        things = tuple(Thing(each, boxes.get(each), None if truth is None else truth == each + 1) for each in sorted(shown))
        ignore = None if truth is None else truth == IGNORED
        return Sample(key, hw, things, lambda: open_pixels(base / "JPEGImages" / f"{key}.jpg"), ignore=ignore)

    return DataSet("voc", tuple((name,) for name in CLASSES), keys, read, {"root": str(root), "split": split})


def _boxes(file: Path, names: list[str]) -> tuple[tuple[int, int], dict[int, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]]:
    """Height and width, and boxes by class: the kit counts from 1, and its last row and column belong to the box."""
    try:
        tree = ET.fromstring(need(file, "the XML of a picture of VOC").read_bytes())
        found: dict[int, list[list[float]]] = {}
        for each in tree.iter("object"):
            sides = [float(each.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")]
            found.setdefault(names.index(each.findtext("name", "")), []).append(sides)
        hw = (int(tree.findtext("size/height", "")), int(tree.findtext("size/width", "")))
    except (ET.ParseError, ValueError) as error:
        raise DataError(f"`{file}` is not the XML of a picture of VOC: {error}") from error
    return hw, {label: np.array(rows) - np.array([1, 1, 0, 0]) for label, rows in found.items()}
