"""Write the fixed test set: pictures as WebP and one JSON file of truth.

python -m bench.world.write --sprites sprites.npz --out FOLDER
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.world.artwork import Sprites, load_sprites
from bench.world.nouns import nouns
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
    """Write the first pictures of each split; returns the truth as written to truth.json."""
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
            scenes.append(to_json(one, file))
    truth = {
        "schema": 1,
        "world": VERSION,
        "seed": seed,
        "nouns": list(nouns()),
        "sha256": digest.hexdigest(),
        "scenes": scenes,
    }
    lines = ",\n".join(json.dumps(scene, separators=(",", ":")) for scene in scenes)
    head = json.dumps({key: value for key, value in truth.items() if key != "scenes"})
    (out / "truth.json").write_text(f'{head[:-1]}, "scenes": [\n{lines}\n]}}\n', encoding="utf-8")
    return truth


def main() -> None:
    """Write the test set and print its size."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sprites", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    truth = write(load_sprites(chosen.sprites), chosen.out, COUNTS, chosen.seed)
    size = sum(file.stat().st_size for file in chosen.out.rglob("*") if file.is_file())
    print(f"{len(truth['scenes'])} pictures, {size / 1e6:.1f} MB, sha256 {truth['sha256'][:16]}")


if __name__ == "__main__":
    main()
