"""Damaged picture files of every format: pixels, or one PictureError."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from functools import cache

import numpy as np
from PIL import Image

from runtime.errors import PictureError
from runtime.pictures import PictureLimits, read_picture
from tests.runtime.samples import encoded, noise
from tests.torture import attacks
from tests.torture.mutation import PIECES, damaged, rearranged

REFUSALS = (PictureError,)
LIMITS = PictureLimits(pixels=4_000_000, side=20_000)


def case(rng: random.Random) -> Callable[[], None]:
    """Damage a good file, or what it is made of."""
    kind, data = rng.choice(seeds())
    if kind in PIECES and rng.random() < 0.5:
        split, join = PIECES[kind]
        data = join(rearranged(rng, split(data)))
    else:
        data = damaged(rng, data)
    if rng.random() < 0.1:
        data = damaged(rng, data)
    source = rng.choice((data, bytearray(data), io.BytesIO(data)))

    def read() -> None:
        found = read_picture(source, LIMITS)
        assert found.dtype == np.uint8
        assert found.ndim == 3
        assert found.shape[2] == 3
        assert found.shape[0] * found.shape[1] <= LIMITS.pixels

    return read


@cache
def seeds() -> list[tuple[str, bytes]]:
    """Good files, small and of every kind, and some that cost much."""
    Image.init()
    colours = Image.fromarray(noise(37, 50))
    notes = Image.Exif()
    notes[0x0112] = 6
    clear, grey, deep = colours.convert("RGBA"), colours.convert("L"), Image.fromarray(noise(20, 30, 0).astype(np.uint16) * 257)
    clear.putalpha(grey)
    bits, palette = colours.convert("1"), colours.convert("P")
    frames = {"save_all": True, "append_images": [grey.convert("RGB"), colours]}
    made: list[tuple[str, bytes]] = [
        ("JPEG", encoded(colours, "JPEG", exif=notes)),
        ("JPEG", encoded(colours, "JPEG", progressive=True)),
        ("JPEG", encoded(colours.convert("CMYK"), "JPEG")),
        ("JPEG", attacks.jpeg_of_scans(200, 200, 60)),
        ("WEBP", attacks.webp_animation(300, 200)),
        ("BMP", attacks.run_length_bmp(400, 30)),
        ("GIF", attacks.gif_frame(300, 200)),
        ("PNG", attacks.png_ribbon(1, 9_000)),
        ("PPM", b"P3 2 2 200\n# note\n0 1 2 3 4 5 6 7 8 9 10 11\n"),
        ("PPM", b"Pf\n4 4\n-1.0\n" + bytes(64)),
    ]
    for kind, options in [
        ("PNG", {"exif": notes}),
        ("WEBP", {"exif": notes}),
        ("TIFF", {}),
        ("GIF", {}),
        ("BMP", {}),
        ("PPM", {}),
    ]:
        made += [(kind, encoded(image, kind, **options)) for image in (colours, grey)]
    made += [(kind, encoded(image, kind)) for kind in ("PNG", "TIFF") for image in (clear, deep, bits, palette)]
    made += [
        ("TIFF", encoded(colours, "TIFF", compression=way)) for way in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")
    ]
    made += [("TIFF", encoded(bits, "TIFF", compression="group4")), ("WEBP", encoded(clear, "WEBP", lossless=True))]
    made += [(kind, encoded(colours, kind, **frames)) for kind in ("GIF", "PNG", "WEBP", "TIFF")]
    made += [(kind, encoded(colours, kind)) for kind in ("AVIF", "JPEG2000") if kind in Image.SAVE]
    return made
