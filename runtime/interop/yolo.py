"""YOLO's text files: one per picture, a line per box, and the list of classes."""

from __future__ import annotations

from pathlib import PurePath

from runtime.interop.labels import Answers, labelled, labels_of

CLASSES = "classes.txt"


def to_yolo(answers: Answers, *, scores: bool = False) -> dict[str, str]:
    """File names and their texts: `class x y width height`, middles and sizes as fractions of the picture.

    With `scores` a sixth number follows, as predictions have it; labels to train on have none. A picture without a box gets
    an empty file, which tells trainers that nothing is there.
    """
    pictures = labelled(answers)
    numbers = {label: number for number, label in enumerate(labels_of(pictures))}
    files = {CLASSES: "".join(f"{_one_line(label)}\n" for label in numbers)}
    for picture in pictures:
        lines = []
        for box in picture.boxes():
            x0, y0, x1, y1 = box.xyxy
            middle = (x0 + x1) / 2 / picture.width, (y0 + y1) / 2 / picture.height
            size = (x1 - x0) / picture.width, (y1 - y0) / picture.height
            score = f" {box.score:.4f}" if scores else ""
            lines.append(f"{numbers[box.label]} " + " ".join(f"{number:.6f}" for number in (*middle, *size)) + f"{score}\n")
        files[f"{PurePath(picture.name).stem}.txt"] = "".join(lines)
    return files


def _one_line(label: str) -> str:
    """A label that cannot break the list of classes, of which each has a line."""
    return " ".join(label.split())
