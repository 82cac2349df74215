"""Arrays as pictures: u8 of the usual shapes are taken, and everything else is told how to become one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import PictureError
from runtime.picture_modes import Pixels, to_pixels


def from_array(array: NDArray[np.generic], bgr: bool) -> Pixels:
    """Take a u8 array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) as a new (H, W, 3) one; `bgr` is OpenCV's order."""
    found = f"an array of shape {array.shape} and type {array.dtype}"
    if array.dtype != np.uint8:
        raise PictureError(f"`picture` is {found}; u8 values from 0 to 255 are needed: {_dtype_hint(array)}")
    match array.shape:
        case (_, _):
            planes = array[:, :, np.newaxis]
        case (_, _, 1 | 3 | 4):
            planes = array
        case _:
            hint = _shape_hint(array.shape)
            raise PictureError(f"`picture` is {found}; (H, W), (H, W, 3) or (H, W, 4) is needed: {hint}")
    if array.size == 0:
        raise PictureError(f"`picture` is {found}, which has no pixels: check the slice that made it")
    if bgr and planes.shape[2] >= 3:
        planes = planes[:, :, [2, 1, 0, 3][: planes.shape[2]]]
    if planes.shape[2] == len("RGBA"):
        return to_pixels(Image.fromarray(planes), found)
    return np.array(np.broadcast_to(planes, (*planes.shape[:2], 3)), dtype=np.uint8, order="C")


def _dtype_hint(array: NDArray[np.generic]) -> str:
    if array.dtype.kind == "f":
        high = float(np.max(array)) if array.size else 1.0
        if 1.0 < high <= 255.0:
            return f"its values go up to {high:g}, so pass `array.round().astype(np.uint8)`"
        return "`(array * 255).round().astype(np.uint8)` if it runs from 0 to 1"
    if array.dtype.kind == "b":
        return "`array.astype(np.uint8) * 255`"
    if array.dtype == np.uint16:
        return "`(array // 257).astype(np.uint8)` if it runs from 0 to 65535"
    return "`array.astype(np.uint8)` if it runs from 0 to 255"


def _shape_hint(shape: tuple[int, ...]) -> str:
    match shape:
        case (1 | 3 | 4, _, _):
            return "`array.transpose(1, 2, 0)` if the channels come first"
        case (_, _, _, _):
            return "pass one picture of the batch at a time, as in `array[0]`"
    return "choose or add channels"
