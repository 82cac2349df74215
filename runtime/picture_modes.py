"""From what Pillow decoded to (H, W, 3) u8: every mode of colour, laid over white, turned upright."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import PictureError

Pixels: TypeAlias = NDArray[np.uint8]

BAND = 1 << 20  # pixels that are converted at a time: the picture is never held twice


def to_pixels(image: Image.Image, name: str) -> Pixels:
    """Convert a loaded image to (H, W, 3) u8, a few rows at a time."""
    convert = _converter(image, name)
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for top, band in _bands(image):
        pixels[top : top + band.height] = convert(band)
    return pixels


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Undo the camera's orientation, a number of EXIF's table."""
    if orientation not in range(2, 9):
        return pixels
    import cv2  # only here: a process that decodes one picture must start fast

    turned: Any = cv2.transpose(pixels) if orientation >= 5 else pixels
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return np.ascontiguousarray(turned if flip is None else cv2.flip(turned, flip))


def opaque(image: Image.Image) -> Image.Image:
    """Convert to RGB, transparency laid over white."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "La":
        image = image.convert("LA")  # the only mode that Pillow converts premultiplied grey to
    if not image.has_transparency_data:
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(rgba, mask=rgba.getchannel("A"))
    return white


def _bands(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    rows = max(1, BAND // image.width)
    for top in range(0, image.height, rows):
        # Not `image.crop`, which asks Pillow's limit of the whole process.
        yield top, image._new(image.im.crop((0, top, image.width, min(top + rows, image.height))))


def _converter(image: Image.Image, name: str) -> Callable[[Image.Image], NDArray[np.uint8]]:
    """How a band of this image becomes (rows, W, 1 or 3) u8."""
    if image.mode == "F":
        _check_range(image, name, 1, f"`picture` {name} has values from {{}} to {{}}; of floats only 0 to 1")
        return lambda band: np.rint(np.asarray(band) * 255).astype(np.uint8)[:, :, np.newaxis]
    if image.mode != "I" and not image.mode.startswith("I;16"):
        return lambda band: np.asarray(opaque(band))
    # Mode I does not tell its depth: 8-bit values in it would come out black if taken for 16-bit ones.
    eight_bit = False
    if image.mode == "I":
        found = f"`picture` {name} has values from {{}} to {{}}; of whole numbers only 0 to 65535"
        eight_bit = _check_range(image, name, np.iinfo(np.uint16).max, found) <= np.iinfo(np.uint8).max
    clear = image.info.get("transparency")

    def shades(band: Image.Image) -> NDArray[np.uint8]:
        grey = np.asarray(band)
        scaled = grey if eight_bit else (grey.astype(np.uint32) + 128) // 257
        shade = scaled.astype(np.uint8)
        if isinstance(clear, int):
            shade[grey == clear] = 255
        return shade[:, :, np.newaxis]

    return shades


def _check_range(image: Image.Image, name: str, most: float, found: str) -> float:
    """The highest value of a deep grey image, all of whose values must lie between 0 and `most`."""
    ends = [(float(grey.min()), float(grey.max())) for grey in (np.asarray(band) for _, band in _bands(image))]
    low, high = np.min(ends), np.max(ends)  # NaN stays NaN
    if not (low >= 0 and high <= most):
        raise PictureError(f"{found.format(f'{low:g}', f'{high:g}')} have a known meaning: scale it to 8 bits first")
    return float(high)
