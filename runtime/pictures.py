"""Reads any picture into (H, W, 3) u8 RGB, upright and opaque, or says plainly why it cannot."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime.errors import PictureError

Pixels: TypeAlias = NDArray[np.uint8]
Picture: TypeAlias = str | Path | bytes | Image.Image | NDArray[np.generic]

MAX_PIXELS = 200_000_000
MAX_PIXELS_VARIABLE = "VLSCORE_MAX_PIXELS"

# A closed list: some of Pillow's other readers start programs (EPS) or have no signature to go by (TGA).
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")
ORIENTATION_TAG = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_picture(source: Picture) -> Pixels:
    """Read a path, the bytes of a file, a PIL image or a u8 array as a new (H, W, 3) u8 RGB array.

    The camera's orientation is applied, transparency is laid over white, the first frame of an
    animation is taken, and 16-bit pictures are scaled. Raises ``PictureError`` for anything else.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decode(source, f"a PIL image of mode {source.mode}")
    if isinstance(source, bytes):
        return _from_stream(io.BytesIO(source), len(source), f"{len(source)} bytes")
    if isinstance(source, str | Path):
        return _from_path(source)
    hint = "pass `bytes(picture)`" if isinstance(source, bytearray | memoryview) else "pass one at a time"
    raise PictureError(
        f"`picture` is a {type(source).__name__}; a path, the bytes of a picture file, a PIL image "
        f"or a u8 array is needed: {'pass `file.read()`' if hasattr(source, 'read') else hint}"
    )


def _from_path(source: str | Path) -> Pixels:
    name, path = repr(os.fspath(source)), Path(source)
    try:
        fault = "is an empty path: name a picture file" if name == "''" else _path_fault(path)
        if fault:
            raise PictureError(f"`picture` {name} {fault}")
        with path.open("rb") as stream:
            return _from_stream(stream, path.stat().st_size, name)
    except PictureError:
        raise
    except (OSError, ValueError) as error:  # no permission, a name too long, a NUL in the path
        raise PictureError(f"`picture` {name} cannot be opened ({error}): check the path") from error


def _path_fault(path: Path) -> str:
    if path.is_dir():
        return "is a folder: give the path of one picture file in it"
    if path.is_file():
        return ""
    if path.exists():
        return "is a device or a pipe: copy it to a file, or pass its bytes"
    if path.parts[0] in ("http:", "https:"):
        return "does not exist, and addresses are not fetched: download it first and pass the file"
    if not path.parent.is_dir():
        return f"does not exist, nor does its folder {str(path.parent)!r}: check the path"
    return f"does not exist in {str(path.parent.absolute())!r}: check the path"


def _from_stream(stream: IO[bytes], size: int, name: str) -> Pixels:
    if size == 0:
        raise PictureError(f"`picture` {name} is empty, 0 bytes long: copy or download it again")
    with _open_lazily(stream, name) as image:
        return _decode(image, f"{name} ({image.format})")


def _open_lazily(stream: IO[bytes], name: str) -> Image.Image:
    """Read the header only.

    ``Image.open`` would apply a limit of the whole process, and announce it by warnings, which cannot
    be caught safely while other threads run.
    """
    Image.init()
    prefix = stream.read(16)
    for kind in FORMATS:
        factory, accept = Image.OPEN.get(kind, (None, None))
        if factory is None or accept is None or accept(prefix) is not True:
            continue
        stream.seek(0)
        try:
            return factory(stream, "")
        except Exception as error:  # a damaged header makes Pillow's readers raise almost anything
            raise _broken(f"{name} ({kind})", error) from error
    raise PictureError(
        f"`picture` {name} is not a picture that can be read (it begins with {prefix[:8]!r}): "
        f"give one of {', '.join(FORMATS)}, or pass the decoded pixels"
    )


def _decode(image: Image.Image, name: str) -> Pixels:
    """Turn an opened PIL image, which stays as it is, into (H, W, 3) u8."""
    width, height = image.size
    if width == 0 or height == 0:
        raise PictureError(f"`picture` {name} has no pixels, it is {width} x {height}: give at least 1 x 1")
    _refuse_bomb(width, height, name)
    try:
        image.load()
        rgb = _to_rgb(image, name)
        turn = UPRIGHT.get(_orientation(image))
        return np.array(rgb if turn is None else rgb.transpose(turn))
    except (PictureError, MemoryError):
        raise
    except Exception as error:  # damaged pixels make Pillow's readers raise almost anything
        raise _broken(name, error) from error


def _refuse_bomb(width: int, height: int, name: str) -> None:
    limit = max_pixels()
    if width * height > limit:
        raise PictureError(
            f"`picture` {name} is {width} x {height} = {width * height / 1e6:.0f} megapixels, and at "
            f"most {limit / 1e6:g} are decoded: shrink it, or, if you trust it, set "
            f"{MAX_PIXELS_VARIABLE}={width * height}"
        )


def max_pixels() -> int:
    """The most pixels a picture file may have: 200 million, or what ``VLSCORE_MAX_PIXELS`` says."""
    text = os.environ.get(MAX_PIXELS_VARIABLE, "").strip()
    if not text:
        return MAX_PIXELS
    if not text.isdecimal() or int(text) < 1:
        raise PictureError(f"`{MAX_PIXELS_VARIABLE}` is {text!r}; a whole number of pixels is needed: correct or unset it")
    return int(text)


def _broken(name: str, error: Exception) -> PictureError:
    found = str(error) or type(error).__name__
    return PictureError(f"`picture` {name} is damaged or cut short ({found}): copy or download it again")


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # a picture with unreadable notes is still a picture
        return 1
    return found if isinstance(found, int) else 1


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        return _from_deep_grey(image, name).convert("RGB")
    if image.mode == "F":
        return _from_float_grey(image, name).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")  # the only mode that Pillow converts premultiplied grey to
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba.getchannel("A"))
        return white
    return image.convert("RGB")


def _from_deep_grey(image: Image.Image, name: str) -> Image.Image:
    grey = np.asarray(image)
    low, high = int(grey.min()), int(grey.max())
    if low < 0 or high > np.iinfo(np.uint16).max:
        raise PictureError(
            f"`picture` {name} has values from {low} to {high}; of whole numbers only 0 to 65535 "
            f"have a known meaning: scale it to 8 bits first"
        )
    # Mode I does not tell its depth: 8-bit values in it would come out black if taken for 16-bit ones.
    eight_bit = image.mode == "I" and high <= np.iinfo(np.uint8).max
    scaled = grey if eight_bit else (grey.astype(np.uint32) + 128) // 257
    shades = scaled.astype(np.uint8)
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        shades[grey == clear] = 255
    return Image.fromarray(shades)


def _from_float_grey(image: Image.Image, name: str) -> Image.Image:
    grey = np.asarray(image)
    low, high = float(grey.min()), float(grey.max())
    if not (low >= 0.0 and high <= 1.0):  # also true of NaN
        raise PictureError(
            f"`picture` {name} has values from {low:g} to {high:g}; of floats only 0 to 1 "
            f"have a known meaning: scale it to 8 bits first"
        )
    return Image.fromarray(np.rint(grey * 255).astype(np.uint8))


def _from_array(array: NDArray[np.generic]) -> Pixels:
    found = f"an array of shape {array.shape} and type {array.dtype}"
    if array.dtype != np.uint8:
        hint = _dtype_hint(array.dtype)
        raise PictureError(f"`picture` is {found}; u8 values from 0 to 255 are needed: {hint}")
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
    if planes.shape[2] == len("RGBA"):
        return np.array(_to_rgb(Image.fromarray(planes), found))
    return np.array(np.broadcast_to(planes, (*planes.shape[:2], 3)), dtype=np.uint8, order="C")


def _dtype_hint(dtype: np.dtype[np.generic]) -> str:
    if dtype.kind == "f":
        return "`(array * 255).round().astype(np.uint8)` if it runs from 0 to 1"
    if dtype.kind == "b":
        return "`array.astype(np.uint8) * 255`"
    if dtype == np.uint16:
        return "`(array // 257).astype(np.uint8)` if it runs from 0 to 65535"
    return "`array.astype(np.uint8)` if it runs from 0 to 255"


def _shape_hint(shape: tuple[int, ...]) -> str:
    match shape:
        case (1 | 3 | 4, _, _):
            return "`array.transpose(1, 2, 0)` if the channels come first"
        case (_, _, _, _):
            return "pass one picture of the batch at a time, as in `array[0]`"
    return "choose or add channels"
