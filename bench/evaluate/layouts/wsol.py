"""CUB, ImageNet, ImageNetV2 and OpenImages30k as the public evaluator of weak localisation keeps them.

`metadata/<set>/<split>/` holds image_ids.txt, class_labels.txt, image_sizes.txt and localization.txt; pictures lie under
their ids; masks beside them (OpenImages).
"""

from __future__ import annotations

import csv
from collections import defaultdict
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from bench.evaluate.data import (
    DataError,
    DataSet,
    Mask,
    Sample,
    Thing,
    boxes_of,
    find_one,
    lines_of,
    need,
    open_pixels,
    read_labels,
    size_of,
)
from engine.metrics.max_box import SIDE

FOLDERS = {"cub": "CUB", "imagenet-wsol": "ILSVRC", "imagenetv2": "ILSVRC", "openimages": "OpenImages"}
SPLITS = {"cub": "test", "imagenet-wsol": "test", "imagenetv2": "val", "openimages": "test"}


def wsol(name: str, root: Path, split: str | None = None, labels: Path | None = None) -> DataSet:
    """One of the sets by name. Its boxes are inclusive and its splits named as the public evaluator does both."""
    folder = find_one(root, ("metadata", "."), f"metadata/{FOLDERS[name]}/...") / FOLDERS[name] / (split or SPLITS[name])
    keys = lines_of(folder / "image_ids.txt", "an id of a picture a line")
    numbers = {key: int(label) for key, label in rows_of(folder / "class_labels.txt", 2)}
    sizes = {key: (int(height), int(width)) for key, width, height in rows_of(folder / "image_sizes.txt", 3)}
    pictures = picture_root(root, FOLDERS[name])
    places: dict[str, list[list[str]]] = defaultdict(list)
    for key, *place in rows_of(folder / "localization.txt", 3 if name == "openimages" else 5):
        places[key].append(place)
    sized = sizes or name != "openimages"  # the public file of sizes of OpenImages is empty
    lacking = [key for key in keys if key not in numbers or key not in places or (sized and key not in sizes)]
    if lacking or not keys:
        raise DataError(f"`{folder}` lists {len(keys)} pictures and lacks label, size or place of {lacking[:3] or 'all'}")
    words = names_of(name, root, labels, numbers)

    def read(place: int) -> Sample:
        key = keys[place]
        file = picture_file(pictures, key)
        if name == "openimages":
            thing, ignore = masks_of(pictures, places[key], numbers[key])
            hw = size_of(file) if file.is_file() else (SIDE, SIDE)  # where only maps are judged
            return Sample(key, hw, (thing,), partial(open_pixels, file), ignore=ignore, on_grid=True)
        rows = [(x0, y0, x1 + 1, y1 + 1) for x0, y0, x1, y1 in (map(float, row) for row in places[key])]
        thing = Thing(numbers[key], boxes_of(rows, sizes[key], key))
        return Sample(key, sizes[key], (thing,), partial(open_pixels, file))

    about = {"root": str(root), "split": split or SPLITS[name], "inclusive": True}
    return DataSet(name, words, tuple(keys), read, about)


def rows_of(file: Path, columns: int) -> list[list[str]]:
    """The rows of one of the public text files, each with so many columns."""
    rows = list(csv.reader(lines_of(file, f"{columns} columns with commas between")))
    odd = [number for number, row in enumerate(rows, 1) if len(row) != columns]
    if odd:
        raise DataError(f"`{file}`, line {odd[0]}: expected {columns} columns with commas between, found {len(rows[odd[0] - 1])}")
    return rows


def picture_root(root: Path, folder: str) -> Path:
    """Where the ids of pictures begin; pictures may be absent where only maps are judged."""
    places = (root / "dataset" / folder, root / folder, root)
    return next((place for place in places if place.exists()), root)


def picture_file(pictures: Path, key: str) -> Path:
    """The picture of an id, which may begin with the name of its split."""
    here = (pictures / key, pictures / key.partition("/")[2])
    return next((file for file in here if file.is_file()), here[0])


def names_of(name: str, root: Path, labels: Path | None, numbers: dict[str, int]) -> tuple[tuple[str, ...], ...]:
    """The words of every class number: of a file, of CUB's own folders, or of OpenImages' list of classes."""
    if labels is not None:
        words = read_labels(labels)
    elif name == "cub":
        folders = {number: key.split("/")[0] for key, number in numbers.items()}
        plain = {number: folder.partition(".")[2].replace("_", " ") for number, folder in folders.items()}
        words = tuple((plain.get(each) or f"class {each}",) for each in range(max(folders) + 1))
    elif name == "openimages":
        places = ("class-descriptions-boxable.csv", "metadata/class-descriptions-boxable.csv")
        table = find_one(root, places, "names of OpenImages' classes, `/m/01226z,Football` a line")
        named = {row[0].removeprefix("/m/"): row[1].lower() for row in rows_of(table, 2)}
        codes = {number: key.split("/")[1] for key, number in numbers.items()}
        words = tuple((named.get(codes.get(each, ""), codes.get(each, "")),) for each in range(max(codes) + 1))
    else:
        words = read_labels(find_one(root, ("LOC_synset_mapping.txt", "synset_words.txt"), "a line per class"))
    if len(words) <= max(numbers.values()):
        raise DataError(
            f"{len(words)} labels are named and class {max(numbers.values())} is used; give --labels FILE, one a line"
        )
    return words


def masks_of(root: Path, places: list[list[str]], label: int) -> tuple[Thing, Mask | None]:
    """The union of the masks of one picture, and what is ignored, on the evaluator's own grid: masks differ in size."""
    masks = [_mask(root / mask) for mask, _ in places]
    ignored = [_mask(root / ignore) for _, ignore in places if ignore]
    return Thing(label, mask=np.logical_or.reduce(masks)), ignored[0] if ignored else None


def _mask(file: Path) -> Mask:
    levels = cv2.imread(str(need(file, "a mask of OpenImages")), cv2.IMREAD_GRAYSCALE)
    if levels is None:
        raise DataError(f"`{file}` cannot be read as a picture")
    return np.asarray(cv2.resize(levels.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST) > 0.5)
