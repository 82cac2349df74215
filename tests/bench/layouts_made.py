"""Small data sets in the public layouts, made for the tests: a bright square on grey, whose box and mask are known."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

HW = (30, 40)
BOX = (8, 5, 24, 20)  # half-open


def pixels() -> np.ndarray:
    found = np.full((*HW, 3), 90, np.uint8)
    found[BOX[1] : BOX[3], BOX[0] : BOX[2]] = 220
    return found


def mask() -> np.ndarray:
    return pixels()[..., 0] > 100


def save(file: Path, array: np.ndarray) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(file)
    return file


def text(file: Path, content: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def xml(name: str, box: tuple[int, int, int, int]) -> str:
    """As annotations have it: the last row and column belong to the box."""
    sides = "".join(f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    size = f"<size><width>{HW[1]}</width><height>{HW[0]}</height></size>"
    return f"<annotation>{size}<object><name>{name}</name><bndbox>{sides}</bndbox></object></annotation>"


def imagenet(root: Path, count: int = 4, archives: bool = False) -> Path:
    """Class numbers n00000001 and n00000002 take turns."""
    for place in range(count):
        stem = f"ILSVRC2012_val_{place + 1:08d}"
        save(root / "val" / f"{stem}.JPEG", pixels())
        number = f"n0000000{1 + place % 2}"
        text(root / "bbox_val" / f"{stem}.xml", xml(number, (BOX[0], BOX[1], BOX[2] - 1, BOX[3] - 1)))
    text(root / "synset_words.txt", "n00000001 tench, Tinca tinca\nn00000002 goldfish\n")
    if archives:
        with tarfile.open(root / "ILSVRC2012_img_val.tar", "w") as archive:
            for file in sorted((root / "val").iterdir()):
                archive.add(file, file.name)
        with tarfile.open(root / "ILSVRC2012_bbox_val_v3.tgz", "w:gz") as archive:
            archive.add(root / "bbox_val", "val")
    return root


def imagenet_s(root: Path) -> Path:
    save(root / "validation/n00000001/a.JPEG", pixels())
    levels = np.zeros((*HW, 3), np.uint8)
    levels[mask()] = (1, 0, 0)
    levels[0] = (1000 % 256, 1000 // 256, 0)
    save(root / "validation-segmentation/n00000001/a.png", levels)
    text(root / "synset_words.txt", "n00000001 tench, Tinca tinca\n")
    return root


def wsol(root: Path, folder: str, split: str, key: str) -> Path:
    base = root / "metadata" / folder / split
    text(base / "image_ids.txt", f"{key}\n")
    text(base / "class_labels.txt", f"{key},0\n")
    text(base / "image_sizes.txt", f"{key},{HW[1]},{HW[0]}\n")
    text(base / "localization.txt", f"{key},{BOX[0]},{BOX[1]},{BOX[2] - 1},{BOX[3] - 1}\n")
    save(root / folder / key, pixels())
    return root


def openimages(root: Path) -> Path:
    key = "test/0bt_c3/one.jpg"
    wsol(root, "OpenImages", "test", key)
    text(root / "metadata/OpenImages/test/image_sizes.txt", "")  # as it is published
    text(root / "metadata/OpenImages/test/localization.txt", f"{key},test/0bt_c3/m.png,test/0bt_c3/i.png\n")
    save(root / "OpenImages/test/0bt_c3/m.png", mask().astype(np.uint8) * 255)
    ignore = np.zeros(HW, np.uint8)
    ignore[:, 30:] = 255
    save(root / "OpenImages/test/0bt_c3/i.png", ignore)
    text(root / "class-descriptions-boxable.csv", "/m/0bt_c3,Book\n")
    return root


def coco(root: Path, crowd: bool = True) -> Path:
    """Run lengths go down the columns; the second annotation is a crowd."""
    flat = mask().T.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat, [not flat[-1]]]).astype(int)))
    runs = np.diff(edges, prepend=0).tolist()
    things = [
        {
            "image_id": 7,
            "category_id": 18,
            "bbox": [BOX[0], BOX[1], BOX[2] - BOX[0], BOX[3] - BOX[1]],
            "segmentation": {"counts": runs, "size": HW},
        },
        {
            "image_id": 7,
            "category_id": 3,
            "iscrowd": 1,
            "bbox": [0, 0, 2, 2],
            "segmentation": {"counts": [0, 2, 1198], "size": HW},
        },
    ]
    images = [{"id": 7, "file_name": "7.jpg", "height": HW[0], "width": HW[1]}, {"id": 8, "file_name": "8.jpg"}]
    categories = [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}]
    data = {"images": images, "annotations": things[: 1 + crowd], "categories": categories}
    text(root / "annotations/instances_val2017.json", json.dumps(data))
    save(root / "val2017/7.jpg", pixels())
    return root


def voc(root: Path) -> Path:
    base = root / "VOCdevkit/VOC2012"
    for kind in ("Segmentation", "Main"):
        text(base / f"ImageSets/{kind}/val.txt", "2007_000033\n")
    text(base / "Annotations/2007_000033.xml", xml("diningtable", (BOX[0] + 1, BOX[1] + 1, BOX[2], BOX[3])))
    levels = np.where(mask(), 11, 0).astype(np.uint8)
    levels[0] = 255
    save(base / "SegmentationClass/2007_000033.png", levels)
    save(base / "JPEGImages/2007_000033.jpg", pixels())
    return root


def cocoglide(root: Path) -> Path:
    save(root / "real/dining_table_123.png", pixels())
    save(root / "fake/glide_inpainting_val2017_123_up.png", pixels())
    save(root / "mask/dining_table_123_mask.png", mask().astype(np.uint8) * 255)
    return root
