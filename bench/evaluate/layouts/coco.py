"""COCO's JSON: COCO val itself, and any folder of pictures with a file of that form; and CocoGlide."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.evaluate.data import (
    DataError,
    DataSet,
    Mask,
    Sample,
    Thing,
    boxes_of,
    find_one,
    need,
    open_levels,
    open_pixels,
    size_of,
)


def coco(root: Path, truth: Path | None = None, pictures: Path | None = None, masks: bool = True, name: str = "coco") -> DataSet:
    """A folder of pictures and a file in COCO's form; categories are the labels, in the order of their ids.

    Crowds are ignored pixels. Polygons and packed masks need pycocotools; `masks=False` reads the boxes alone.
    """
    file = truth or find_one(
        root, ("annotations/instances_val2017.json", "annotations/instances_val2014.json", "annotations.json"), "COCO's JSON"
    )
    categories, images, found = read_json(file)
    folder = pictures or next((root / each for each in ("val2017", "val2014", "images") if (root / each).is_dir()), root)
    number = {int(each["id"]): place for place, each in enumerate(categories)}
    ids = [each for each in sorted(images) if found[each]]

    def read(place: int) -> Sample:
        entry = images[ids[place]]
        key, picture = str(entry["file_name"]), folder / str(entry["file_name"])
        hw = (int(entry["height"]), int(entry["width"])) if "height" in entry else size_of(picture)
        by_label: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for each in found[ids[place]]:
            by_label[-1 if each.get("iscrowd") else number[int(each["category_id"])]].append(each)
        crowds = by_label.pop(-1, [])
        if not by_label:
            raise DataError(f"`{key}` shows crowds alone")
        things = tuple(_thing(label, each, hw, key, masks) for label, each in sorted(by_label.items()))
        ignore = _union(crowds, hw) if masks and crowds else None
        return Sample(key, hw, things, lambda: open_pixels(picture), ignore=ignore)

    labels = tuple((str(each["name"]),) for each in categories)
    return DataSet(
        name, labels, tuple(str(images[each]["file_name"]) for each in ids), read, {"root": str(root), "truth": str(file)}
    )


def read_json(file: Path) -> tuple[list[dict[str, Any]], dict[int, dict[str, Any]], dict[int, list[dict[str, Any]]]]:
    """Categories in the order of their ids, pictures by id, and annotations by picture."""
    try:
        data = json.loads(need(file, "COCO's JSON").read_text(encoding="utf-8"))
        found: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for each in data["annotations"]:
            found[int(each["image_id"])].append(each)
        images = {int(each["id"]): each for each in data["images"]}
        return sorted(data["categories"], key=lambda each: int(each["id"])), images, found
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"`{file}` is not COCO's JSON (images, annotations, categories): {error!r}") from error


def _thing(label: int, entries: list[dict[str, Any]], hw: tuple[int, int], key: str, masks: bool) -> Thing:
    rows = [(x, y, x + width, y + height) for x, y, width, height in (each["bbox"] for each in entries)]
    drawn = masks and all(each.get("segmentation") for each in entries)
    return Thing(label, boxes_of(rows, hw, key), _union(entries, hw) if drawn else None)


def _union(entries: list[dict[str, Any]], hw: tuple[int, int]) -> Mask:
    return np.asarray(np.logical_or.reduce([_drawn(each["segmentation"], hw) for each in entries]))


def _drawn(segmentation: Any, hw: tuple[int, int]) -> Mask:  # noqa: ANN401 - three forms of JSON
    """The pixels (H, W) of a mask in any of COCO's three forms: run lengths down the columns, those packed, or polygons."""
    if isinstance(segmentation, dict) and isinstance(segmentation["counts"], list):
        runs = segmentation["counts"]
        if sum(runs) != hw[0] * hw[1]:
            raise DataError(f"run lengths cover {sum(runs)} pixels of a picture of {hw[0]} x {hw[1]}")
        return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(hw[::-1]).T
    try:
        from pycocotools import mask as tools  # type: ignore[import-untyped]
    except ImportError as error:
        raise ModuleNotFoundError(
            "masks of polygons need pycocotools, as their public definition is its code: pip install pycocotools, or ask for "
            "boxes alone with --boxes-only"
        ) from error
    packed = segmentation if isinstance(segmentation, dict) else tools.merge(tools.frPyObjects(segmentation, *hw))
    return np.asarray(tools.decode(packed), bool)


def cocoglide(root: Path, fake: bool = False) -> DataSet:
    """CocoGlide: `real/<label>_<id>.png`, `mask/<label>_<id>_mask.png`, `fake/glide_inpainting_val2017_<id>_up.png`."""
    files = sorted(need(root / "mask", "CocoGlide's masks").glob("*_mask.png"))
    names = [file.name.removesuffix("_mask.png").rpartition("_") for file in files]
    if not names or not all(label and number.isdecimal() for label, _, number in names):
        raise DataError(f"`{root / 'mask'}` holds {len(files)} masks: expected names such as `dog_1234_mask.png`")
    labels = sorted({label for label, _, _ in names})

    def read(place: int) -> Sample:
        label, _, number = names[place]
        picture = root / (f"fake/glide_inpainting_val2017_{number}_up.png" if fake else f"real/{label}_{number}.png")
        levels = open_levels(files[place])
        mask = (levels if levels.ndim == 2 else levels[..., 0]) > 127
        hw = size_of(need(picture, "a picture of CocoGlide"))
        if mask.shape != hw or not mask.any():
            raise DataError(f"`{files[place]}` is empty, or of another size than `{picture}`: {mask.shape} and {hw}")
        return Sample(f"{label}_{number}", hw, (Thing(labels.index(label), mask=mask),), lambda: open_pixels(picture))

    keys = tuple(f"{label}_{number}" for label, _, number in names)
    words = tuple((label.replace("_", " "),) for label in labels)
    return DataSet("cocoglide", words, keys, read, {"root": str(root), "pictures": "fake" if fake else "real"})
