"""ImageNet-1k val with its XML boxes, and ImageNet-S with its masks."""

from __future__ import annotations

import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from bench.evaluate.data import (
    DataError,
    DataSet,
    Sample,
    Thing,
    boxes_of,
    find_one,
    lines_of,
    need,
    open_levels,
    open_pixels,
    size_of,
    words_of,
)

PICTURES = ("ILSVRC2012_img_val.tar", "val", "ILSVRC/Data/CLS-LOC/val", "Data/CLS-LOC/val", ".")
BOXES = (
    "ILSVRC2012_bbox_val_v3.tgz",
    "bbox_val",
    "ILSVRC/Annotations/CLS-LOC/val",
    "Annotations/CLS-LOC/val",
    "Annotations/val",
    "val",
)
NAMES = ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt")
IGNORED = 1000  # of ImageNet-S

Source = Callable[[], Path | bytes]


def imagenet(root: Path, labels: Path | None = None, first_classes: int | None = None) -> DataSet:
    """ImageNet-1k val: pictures in a folder (flat or by class) or in the tar; boxes in a folder of XML or in the tgz.

    `first_classes` keeps the pictures of so many classes in the order of WordNet numbers, as 200 x 50 of the first report.
    """
    pictures = sources(find_one(root, PICTURES, "the pictures of ImageNet-1k val, ILSVRC2012_val_*.JPEG"), (".jpeg", ".jpg"))
    boxes = sources(find_one(root, BOXES, "the boxes of ImageNet-1k val, ILSVRC2012_val_*.xml"), (".xml",))
    names = synonyms(labels or find_one(root, NAMES, "a line per class, such as `n01440764 tench, Tinca tinca`"))
    keys = sorted(set(pictures) & set(boxes))
    if not keys:
        raise DataError(f"`{root}` has {len(pictures)} pictures and {len(boxes)} XML files, none of the same name")
    number = {wordnet: place for place, wordnet in enumerate(sorted(names))}
    read = partial(_read, pictures=pictures, boxes=boxes, number=number)
    if first_classes is not None:
        kept = set(sorted(names)[:first_classes])
        keys = [key for key in keys if _class_of(boxes[key], key) in kept]
    about = {"root": str(root), "without_boxes": len(pictures) - len(set(pictures) & set(boxes)), "first_classes": first_classes}
    return DataSet("imagenet", tuple(names[each] for each in sorted(names)), tuple(keys), lambda place: read(keys[place]), about)


def sources(place: Path, endings: tuple[str, ...]) -> dict[str, Source]:
    """Files of some endings by stem: in a folder, however deep, or in a tar, which is read where it lies."""
    if place.is_dir():
        return {file.stem: partial(_itself, file) for file in sorted(place.rglob("*")) if file.suffix.lower() in endings}
    try:
        with tarfile.open(place) as archive:
            wanted = (member for member in archive if member.isfile() and Path(member.name).suffix.lower() in endings)
            if place.suffix == ".tar":  # not packed: read each where it lies, when it is asked for
                return {Path(each.name).stem: partial(_slice, place, each.offset_data, each.size) for each in wanted}
            return {Path(each.name).stem: partial(_itself, archive.extractfile(each).read()) for each in wanted}  # type: ignore[union-attr]
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DataError(f"`{place}` cannot be read as a tar archive: {error}") from error


def _itself(source: Path | bytes) -> Path | bytes:
    return source


def _slice(archive: Path, start: int, size: int) -> bytes:
    with archive.open("rb") as file:
        file.seek(start)
        return file.read(size)


def synonyms(file: Path) -> dict[str, tuple[str, ...]]:
    """The words of every WordNet number that a file lists."""
    rows = dict(words_of(line) for line in lines_of(file, "a line per class"))
    if "" in rows or not rows:
        raise DataError(f"`{file}` has a line without a WordNet number: expected lines such as `n01440764 tench, Tinca tinca`")
    return rows


def _objects(source: Source, key: str) -> tuple[tuple[int, int], list[tuple[str, tuple[float, float, float, float]]]]:
    """Height and width, and name and box (half-open) of every object of an XML file."""
    found = source()
    try:
        tree = ET.fromstring(found if isinstance(found, bytes) else found.read_bytes())
        hw = (int(tree.findtext("size/height", "")), int(tree.findtext("size/width", "")))
        return hw, [(each.findtext("name", ""), _box(each)) for each in tree.iter("object")]
    except (ET.ParseError, ValueError) as error:
        raise DataError(f"the XML of `{key}` is not one of a picture with objects: {error}") from error


def _class_of(source: Source, key: str) -> str:
    """The class of a picture's first object; none where its XML is odd, which is told when the picture is read."""
    try:
        _, objects = _objects(source, key)
    except DataError:
        return ""
    return objects[0][0] if objects else ""


def _box(entry: ET.Element) -> tuple[float, float, float, float]:
    """The box of an XML object: there, the last row and column belong to it."""
    x0, y0, x1, y1 = (float(entry.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax"))
    return x0, y0, x1 + 1, y1 + 1


def _read(key: str, pictures: dict[str, Source], boxes: dict[str, Source], number: dict[str, int]) -> Sample:
    hw, objects = _objects(boxes[key], key)
    by_label: dict[str, list[tuple[float, float, float, float]]] = {}
    for name, box in objects:
        by_label.setdefault(name, []).append(box)
    if not by_label or not set(by_label) <= set(number):
        raise DataError(f"the XML of `{key}` names {sorted(by_label)}, which the list of classes does not have")
    things = tuple(Thing(number[name], boxes_of(rows, hw, key)) for name, rows in by_label.items())
    return Sample(key, hw, things, lambda: open_pixels(pictures[key]()))


def imagenet_s(root: Path, labels: Path | None = None) -> DataSet:
    """ImageNet-S (50, 300 or 919 classes): `validation/n.../*.JPEG` and `validation-segmentation/n.../*.png`.

    A mask's class is red + 256 x green, counted from 1 in the order of the folders; 1000 is ignored.
    """
    pictures = need(root / "validation", "the pictures of ImageNet-S by class")
    masks = need(root / "validation-segmentation", "the masks of ImageNet-S by class")
    folders = sorted(folder.name for folder in pictures.iterdir() if folder.is_dir())
    words = synonyms(labels or find_one(root, NAMES, "a line per class, such as `n01440764 tench, Tinca tinca`"))
    lacking = [name for name in folders if name not in words]
    if lacking or not folders:
        raise DataError(f"`{pictures}` has the folders {lacking[:3] or 'of no class'}, which the list of classes does not name")
    files = list(_pairs(pictures, masks, folders))

    def read(place: int) -> Sample:
        picture, mask = files[place]
        colours = open_levels(need(mask, "the mask of a picture of ImageNet-S"))
        if colours.ndim != 3:
            raise DataError(f"`{mask}` has no colours: expected class numbers as red + 256 x green")
        truth = colours[..., 0] + 256 * colours[..., 1]
        shown = [int(each) for each in np.unique(truth) if 0 < each <= len(folders)]
        if not shown:
            raise DataError(f"`{mask}` shows no class")
        things = tuple(Thing(each - 1, mask=truth == each) for each in shown)
        return Sample(
            str(picture.relative_to(pictures)), size_of(picture), things, lambda: open_pixels(picture), ignore=truth == IGNORED
        )

    keys = tuple(str(picture.relative_to(pictures)) for picture, _ in files)
    return DataSet("imagenet-s", tuple(words[name] for name in folders), keys, read, {"root": str(root)})


def _pairs(pictures: Path, masks: Path, folders: list[str]) -> Iterator[tuple[Path, Path]]:
    for name in folders:
        for picture in sorted((pictures / name).iterdir()):
            yield picture, masks / name / f"{picture.stem}.png"
