"""The sprite file: every noun in every artwork set, drawn once.

python -m bench.world.artwork --sources FOLDER --out sprites.npz
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.world.nouns import glyphs, nouns
from bench.world.rasterise import FontArtwork, VectorArtwork, short_names

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
MAIN = ("noto",)
SEEN = (*MAIN, "fluent", "emojione", "fxemoji")
UNSEEN = ("twemoji",)
ARCHIVES = {
    "noto": "iconify-json-noto",
    "fluent": "iconify-json-fluent-emoji-flat",
    "emojione": "iconify-json-emojione",
    "fxemoji": "iconify-json-fxemoji",
    "twemoji": "iconify-json-twemoji",
}


@dataclass(frozen=True, slots=True)
class Sprites:
    """Premultiplied sprites (n, side, side, 4) in falling sizes, and which noun and set each shows."""

    levels: tuple[NDArray[np.uint8], ...]
    noun: NDArray[np.int64]
    artwork: NDArray[np.int64]
    sets: tuple[str, ...]

    def choices(self, noun: int, artwork: tuple[str, ...]) -> NDArray[np.int64]:
        """The numbers of the sprites that show a noun in one of the named sets."""
        wanted = [self.sets.index(name) for name in artwork]
        return np.flatnonzero((self.noun == noun) & np.isin(self.artwork, wanted))


def draw_all(sources: Path, font: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Draw every glyph that each set has: sprites (n, side, side, 4), noun (n,), set (n,)."""
    archives = {name: _archive(sources, stem) for name, stem in ARCHIVES.items()}
    names = short_names(archives["noto"])
    pixels: list[NDArray[np.uint8]] = []
    rows: list[tuple[int, int]] = []
    for place, name in enumerate(SEEN + UNSEEN):
        drawer = FontArtwork(font) if name == "noto" else VectorArtwork(archives[name], names)
        for noun, codes in enumerate(glyphs().values()):
            for code in codes:
                sprite = drawer.draw(code)
                if sprite is not None and not any(
                    row == (noun, place) and np.array_equal(sprite, other)
                    for row, other in zip(rows[-4:], pixels[-4:], strict=True)
                ):
                    pixels.append(sprite)
                    rows.append((noun, place))
    table = np.array(rows, dtype=np.int64)
    return np.stack(pixels), table[:, 0], table[:, 1]


def _archive(sources: Path, stem: str) -> Path:
    found = sorted(sources.glob(f"{stem}-[0-9]*.tgz"))
    if not found:
        raise FileNotFoundError(f"`{sources}` holds no {stem}-*.tgz: fetch it as bench/world/README.md says")
    return found[-1]


def load_sprites(path: Path) -> Sprites:
    """Read a sprite file and build the smaller levels that keep shrunken sprites free of aliasing."""
    if not path.is_file():
        raise FileNotFoundError(f"`{path}` is not there: draw it with python -m bench.world.artwork --out {path}")
    with np.load(path) as stored:
        straight, noun, artwork = stored["pixels"], stored["noun"], stored["artwork"]
        sets, names = tuple(map(str, stored["sets"])), tuple(map(str, stored["nouns"]))
    if names != nouns():
        raise ValueError(f"`{path}` was drawn for {len(names)} other nouns: draw it again")
    alpha = straight[..., 3:].astype(np.uint16)
    full = np.concatenate([(straight[..., :3] * alpha + 127) // 255, alpha], axis=-1).astype(np.uint8)
    levels = [full]
    for _ in range(2):
        side = levels[-1].shape[1] // 2
        area = cv2.INTER_AREA
        levels.append(np.stack([cv2.resize(one, (side, side), interpolation=area) for one in levels[-1]]))
    return Sprites(tuple(levels), noun, artwork, sets)


def main() -> None:
    """Draw the sprite file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--sources", type=Path, required=True, help="folder with the @iconify-json archives")
    parser.add_argument("--font", type=Path, default=FONT, help="Noto Color Emoji")
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    pixels, noun, artwork = draw_all(chosen.sources, chosen.font)
    sets = SEEN + UNSEEN
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(chosen.out, pixels=pixels, noun=noun, artwork=artwork, sets=np.array(sets), nouns=np.array(nouns()))
    counts = {name: int((artwork == place).sum()) for place, name in enumerate(sets)}
    print(f"{len(pixels)} sprites of {len(nouns())} nouns: {counts}")


if __name__ == "__main__":
    main()
