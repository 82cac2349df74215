"""Draw emoji artwork of each set as square sprites."""

from __future__ import annotations

import json
import re
import tarfile
import unicodedata
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

SIDE = 112
FONT_SIDE = 109  # the one size that Noto's bitmap strikes come in

# The fxemoji set predates today's names; these are its own for glyphs that the rules below miss.
OLD_NAMES = {
    0x1F415: "dogside", 0x1F408: "catside", 0x1F401: "mouseside", 0x1F416: "pigside", 0x1F405: "tigerside",
    0x1F436: "dog", 0x1F431: "cat", 0x1F42D: "mouse", 0x1F437: "pig", 0x1F42F: "tiger", 0x1F409: "dragonside",
    0x1F432: "dragonhead", 0x1F433: "spurtingwhale", 0x1F425: "frontfacingchick", 0x1F336: "chilipepper",
    0x1F332: "evergreen", 0x2600: "sunrays", 0x1F30D: "europeafricaglobe", 0x1F30E: "americasglobe",
    0x1F30F: "asiaaustraliaglobe", 0x1F4BE: "floppydisk2", 0x1F4EB: "closedmailboxraised",
    0x23F3: "hourglassflowingsand", 0x1F381: "present", 0x1F3BE: "tennisball",
}  # fmt: skip


class FontArtwork:
    """Sprites from a colour bitmap font."""

    def __init__(self, path: Path) -> None:
        self._font = ImageFont.truetype(str(path), FONT_SIDE)

    def draw(self, code: int) -> NDArray[np.uint8] | None:
        """The glyph as (SIDE, SIDE, 4) straight RGBA, or None where the font lacks it."""
        canvas = Image.new("RGBA", (160, 160), (0, 0, 0, 0))
        ImageDraw.Draw(canvas).text((8, 8), chr(code), font=self._font, embedded_color=True)
        return centred(canvas)


class VectorArtwork:
    """Sprites from an Iconify archive of SVG icons."""

    def __init__(self, archive: Path, names: dict[str, str]) -> None:
        with tarfile.open(archive) as packed:
            self._icons = _member(packed, "icons.json")
            chars = _member(packed, "chars.json")
        self._chars: dict[str, str] = chars
        self._names = names  # code point in hex -> today's short name, for sets without a table of their own

    def draw(self, code: int) -> NDArray[np.uint8] | None:
        """The glyph as (SIDE, SIDE, 4) straight RGBA, or None where the set lacks it."""
        icon = self._find(code)
        if icon is None:
            return None
        import cairosvg  # only drawing needs it: a ready sprite file does not

        width, height = (icon.get(key, self._icons.get(key, 16)) for key in ("width", "height"))
        svg = (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="0 0 {width} {height}">{icon["body"]}</svg>'
        )
        drawn = cairosvg.svg2png(bytestring=svg.encode(), output_width=256, output_height=256)
        return centred(Image.open(BytesIO(drawn)).convert("RGBA"))

    def _find(self, code: int) -> dict[str, Any] | None:
        icons, aliases = self._icons["icons"], self._icons.get("aliases", {})
        for name in self._candidates(code):
            if name in icons:
                return dict(icons[name])
            if name in aliases and aliases[name]["parent"] in icons:
                return dict(icons[aliases[name]["parent"]])
        return None

    def _candidates(self, code: int) -> list[str]:
        keys = (f"{code:x}", f"{code:x}-fe0f")
        if self._chars:
            return [self._chars[key] for key in keys if key in self._chars]
        today = next((self._names[key] for key in keys if key in self._names), "")
        first = unicodedata.name(chr(code), "").lower().replace(" ", "-")
        old = OLD_NAMES.get(code, "") if "sunrays" in self._icons["icons"] else ""
        return [name for name in (old, today, first, re.sub("-", "", today), re.sub("-", "", first)) if name]


def _member(packed: tarfile.TarFile, name: str) -> dict[str, Any]:
    file = packed.extractfile(f"package/{name}")
    if file is None:
        raise ValueError(f"`{packed.name!r}` holds no {name}: give an @iconify-json archive")
    return dict(json.load(file) or {})


def short_names(archive: Path) -> dict[str, str]:
    """Code point in hex -> short name, read from an archive that carries the table."""
    with tarfile.open(archive) as packed:
        return {key: str(value) for key, value in _member(packed, "chars.json").items()}


def centred(drawn: Image.Image) -> NDArray[np.uint8] | None:
    """Crop to the visible part, scale its longer side to SIDE and centre it in a clear square."""
    window = drawn.getchannel("A").point(lambda value: 255 if value > 16 else 0).getbbox()
    if window is None or not np.any(np.asarray(drawn.getchannel("A")) >= 128):
        return None
    cut = drawn.crop(window)
    scale = SIDE / max(cut.size)
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    # Premultiplied resampling: a straight one would draw the colour of clear pixels into the rim.
    cut = cut.convert("RGBa").resize(size, Image.Resampling.LANCZOS).convert("RGBA")
    square = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    square.paste(cut, ((SIDE - size[0]) // 2, (SIDE - size[1]) // 2))
    return np.asarray(square)
