"""Label a folder of pictures for training: what was found, as COCO's JSON.

python label_folder.py photos/ labels.json "a dog" "a cat"
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from runtime import Localizer
from runtime.interop import write_labels


def main(folder: str, target: str, *queries: str, model: str | None = None) -> None:
    localizer = Localizer(model, preset="fast")
    pictures = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))
    left_out = set()

    def skip(path: Path, error: Exception) -> None:
        left_out.add(path)
        print(f"left out: {error}")

    answered = localizer.stream(pictures, list(queries), on_skip=skip)
    labels = {}
    for answers, path in zip(answered, (path for path in pictures if path not in left_out), strict=False):
        # Without the picture and the full-size map a thousand answers fit into memory.
        labels[path.name] = [replace(answer, picture=None, spread=None) for answer in answers]
    write_labels("coco", target, labels)
    print(f"{target}: {sum(len(answer) for answers in labels.values() for answer in answers)} boxes in {len(labels)} pictures")


if __name__ == "__main__":
    main(*sys.argv[1:])
