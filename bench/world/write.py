"""Write the fixed test set: pictures as WebP and one packed JSON file of truth; or draw the pictures that are missing.

python -m bench.world.write --sprites sprites.npz --out FOLDER [--missing]
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.terminal import expected_errors
from bench.world.artwork import Sprites, load_sprites
from bench.world.nouns import nouns
from bench.world.read import PICTURES, SCHEMA, TRUTH, read_truth
from bench.world.splits import VERSION, example
from bench.world.truth import to_json

COUNTS = {
    "val": 200,
    "test": 600,
    "pairs": 100,
    "crowd": 100,
    "wide": 100,
    "absent": 120,
    "unseen-background": 120,
    "other-artwork": 100,
    "unseen-artwork": 120,
}
QUALITY = 75


def packed(pixels: NDArray[np.uint8]) -> bytes:
    """A picture (h, w, 3) as WebP bytes."""
    stored = BytesIO()
    Image.fromarray(pixels).save(stored, "WEBP", quality=QUALITY, method=6)
    return stored.getvalue()


def write(sprites: Sprites, out: Path, counts: Mapping[str, int], seed: int = 0) -> dict[str, Any]:
    """Write the first pictures of each split; returns the truth as written."""
    scenes: list[dict[str, Any]] = []
    digest = hashlib.sha256()
    for split, count in counts.items():
        (out / split).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            one = example(sprites, split, index, seed)
            stored = packed(one.pixels)
            digest.update(stored)
            file = f"{split}/{index:04d}.webp"
            (out / file).write_bytes(stored)
            scenes.append(to_json(one, file, hashlib.sha256(stored).hexdigest()))
    truth = {
        "schema": SCHEMA,
        "world": VERSION,
        "seed": seed,
        "nouns": list(nouns()),
        "sha256": digest.hexdigest(),
        "scenes": scenes,
    }
    write_truth(truth, out)
    return truth


def write_truth(truth: Mapping[str, Any], out: Path) -> None:
    """Write the truth, a line per scene; equal truths give equal bytes."""
    lines = ",\n".join(json.dumps(scene, separators=(",", ":")) for scene in truth["scenes"])
    head = json.dumps({key: value for key, value in truth.items() if key != "scenes"})
    text = f'{head[:-1]}, "scenes": [\n{lines}\n]}}\n'
    (out / TRUTH).write_bytes(gzip.compress(text.encode(), mtime=0))


def write_missing(sprites: Sprites, out: Path) -> int:
    """Draw the pictures that the truth lists and the folder lacks; returns how many."""
    truth = read_truth(out)
    missing = [entry for entry in truth["scenes"] if not (out / entry["file"]).is_file()]
    for entry in missing:
        stored = packed(example(sprites, entry["split"], entry["index"], truth["seed"]).pixels)
        if hashlib.sha256(stored).hexdigest() != entry["sha256"]:
            raise ValueError(
                f"`{entry['file']}` was drawn, and is not the picture that {TRUTH} was written for: its sha256 differs. "
                "Other versions of the artwork, OpenCV or Pillow draw another set; bench/world/README.md names those to take"
            )
        (out / entry["split"]).mkdir(exist_ok=True)
        (out / entry["file"]).write_bytes(stored)
    return len(missing)


def main() -> None:
    """Write the test set, or what is missing of it, and print what was written."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sprites", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=PICTURES, help="the folder of the set (default: the one in this repository)")
    parser.add_argument("--missing", action="store_true", help="draw only the pictures that the truth lists and the folder lacks")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with expected_errors(FileNotFoundError, ValueError):
        sprites = load_sprites(chosen.sprites)
        if chosen.missing:
            print(f"{write_missing(sprites, chosen.out)} pictures drawn, each as its truth says")
            return
    truth = write(sprites, chosen.out, COUNTS, chosen.seed)
    size = sum(file.stat().st_size for file in chosen.out.rglob("*") if file.is_file())
    print(f"{len(truth['scenes'])} pictures, {size / 1e6:.1f} MB, sha256 {truth['sha256'][:16]}")


if __name__ == "__main__":
    main()
