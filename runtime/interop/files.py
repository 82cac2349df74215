"""Answers to files, in any of the formats."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from engine.records import shown
from runtime.errors import ArgumentError
from runtime.files import write_atomically
from runtime.interop.coco import to_coco
from runtime.interop.cvat import to_cvat
from runtime.interop.label_studio import to_label_studio
from runtime.interop.labels import Answers
from runtime.interop.voc import to_voc
from runtime.interop.yolo import to_yolo

# Formats of one document, and formats of a file per picture, which take a folder.
DOCUMENTS: dict[str, Callable[[Answers], str]] = {
    "coco": lambda answers: json.dumps(to_coco(answers), indent=1, allow_nan=False) + "\n",
    "cvat": to_cvat,
    "label-studio": lambda answers: json.dumps(to_label_studio(answers), indent=1, allow_nan=False) + "\n",
}
FOLDERS: dict[str, Callable[[Answers], dict[str, str]]] = {"voc": to_voc, "yolo": to_yolo}
KINDS = (*DOCUMENTS, *FOLDERS)


def write_labels(kind: str, target: str | os.PathLike[str], answers: Answers) -> Path:
    """Write `coco`, `cvat` or `label-studio` into a file, `voc` or `yolo` into a folder; returns the path."""
    path = Path(target)
    if kind in DOCUMENTS:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, DOCUMENTS[kind](answers).encode("utf-8", "backslashreplace"))
        return path
    if kind not in FOLDERS:
        raise ArgumentError(f"`kind` must be one of {', '.join(KINDS)}, found {shown(kind)}")
    path.mkdir(parents=True, exist_ok=True)
    files = FOLDERS[kind](answers)
    if len(files) - (kind == "yolo") < len(answers):
        raise ArgumentError(f"pictures of one name would share a {kind} file; write those of each folder apart")
    for name, text in files.items():
        write_atomically(path / name, text.encode("utf-8", "backslashreplace"))
    return path
