"""Reads any picture into (H, W, 3) u8 RGB, upright and opaque, or says plainly why it cannot."""

from __future__ import annotations

import difflib
import io
import os
import stat
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.records import shown
from runtime.errors import PictureError
from runtime.picture_arrays import from_array
from runtime.picture_formats import FORMATS, ORIENTATION_TAG, open_picture, orientation_of
from runtime.picture_limits import MAX_PIXELS_VARIABLE, PictureLimits, check_size, max_pixels
from runtime.picture_modes import Pixels, to_pixels, turn
from runtime.picture_readers import LibTiff
from runtime.picture_tensors import Tensor, from_tensor

__all__ = ["MAX_PIXELS_VARIABLE", "Picture", "PictureLimits", "Pixels", "max_pixels", "read_picture"]


MOST_NAMES = 10_000  # of a folder that are gone through for one that may have been meant


class Readable(Protocol):
    """A file opened in binary mode, or anything else that gives its bytes."""

    def read(self) -> bytes:
        """Give what is left of the bytes."""
        ...


Picture: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | Readable | Image.Image | NDArray[np.generic] | Tensor
)  # fmt: skip


def read_picture(source: Picture, limits: PictureLimits | None = None, *, bgr: bool = False) -> Pixels:
    """Read a path, the bytes of a file, an open file, a PIL image, a u8 array or a tensor as a new (H, W, 3) u8 RGB array.

    The camera's orientation is applied, transparency is laid over white, the first frame of an
    animation is taken, and 16-bit pictures are scaled; `bgr` says that an array has OpenCV's order
    of colours; a tensor may have its channels first, and floats from 0 to 1. Raises ``PictureError``
    for anything else, and for what would cost more than `limits`.
    """
    limits = PictureLimits() if limits is None else limits
    if not isinstance(limits, PictureLimits):
        raise PictureError(f"`limits` must be PictureLimits, found {shown(limits)} ({type(limits).__name__})")
    if isinstance(source, np.ndarray):
        return from_array(source, bgr)
    if hasattr(source, "__dlpack__"):
        return from_array(from_tensor(cast("Tensor", source)), bgr)
    if bgr:
        raise PictureError(f"`bgr` speaks of arrays, and `picture` is a {type(source).__name__}: leave it out")
    if isinstance(source, Image.Image):
        return _from_image(source, limits)
    if isinstance(source, str | os.PathLike):
        return _from_path(os.fspath(source), limits)
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        return from_file(io.BytesIO(data), len(data), f"{len(data)} bytes", limits)
    if hasattr(source, "read"):
        return _from_readable(source, limits)
    raise PictureError(f"`picture` is {_described(source)}")


def from_file(
    stream: IO[bytes], size: int, name: str, limits: PictureLimits, formats: Sequence[str] = FORMATS
) -> Pixels:  # fmt: skip
    """Decode a picture file of `size` bytes, which begins where `stream` stands."""
    if size == 0:
        raise PictureError(f"`picture` {name} is empty, 0 bytes long: copy or download it again")
    if limits.seconds is not None:
        from runtime.picture_process import decode_apart

        return decode_apart(stream.read(), name, limits)
    with open_picture(stream, name, limits, formats) as image, LibTiff.quiet() if image.format == "TIFF" else nullcontext():
        return _decode(image, f"{name} ({image.format})", orientation_of)


def _decode(image: Image.Image, name: str, orientation: Callable[[Image.Image], int]) -> Pixels:
    """Turn an opened PIL image, which stays as it is, into (H, W, 3) u8."""
    try:
        image.load()
        return turn(to_pixels(image, name), orientation(image))
    except PictureError:
        raise
    except MemoryError as error:
        width, height = image.size
        raise PictureError(f"`picture` {name} of {width} x {height} pixels needs more memory than there is: shrink it") from error
    except Exception as error:  # damaged pixels make Pillow's readers raise almost anything
        found = str(error) or type(error).__name__
        raise PictureError(f"`picture` {name} is damaged or cut short ({found}): copy or download it again") from error


def _from_image(image: Image.Image, limits: PictureLimits) -> Pixels:
    name = f"a PIL image of mode {image.mode}"
    check_size(image.size, name, limits)
    return _decode(image, name, _orientation)


def _orientation(image: Image.Image) -> int:
    try:
        found = image.getexif().get(ORIENTATION_TAG, 1)  # only now: Pillow itself turns a TIFF while it loads it
    except Exception:  # a picture with unreadable notes is still a picture
        return 1
    return found if isinstance(found, int) else 1


def _from_path(path: str | bytes, limits: PictureLimits) -> Pixels:
    text = os.fsdecode(path)
    name = repr(text)
    try:
        fault = _path_fault(text) if text else "is an empty path: name a picture file"
        if fault:
            raise PictureError(f"`picture` {name} {fault}")
        # Not to wait for a pipe's other end, should the path have become one meanwhile.
        with open(text, "rb", opener=lambda path, flags: os.open(path, flags | getattr(os, "O_NONBLOCK", 0))) as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise PictureError(f"`picture` {name} is a device or a pipe: copy it to a file, or pass its bytes")
            return from_file(stream, found.st_size, name, limits)
    except PictureError:
        raise
    except (OSError, ValueError) as error:  # no permission, a name too long, a NUL in the path
        raise PictureError(f"`picture` {name} cannot be opened ({error}): check the path") from error


def _path_fault(text: str) -> str:
    path = Path(text)
    if path.is_dir():
        return "is a folder: give the path of one picture file in it"
    if path.is_file():
        return ""
    if path.exists():
        return "is a device or a pipe: copy it to a file, or pass its bytes"
    if path.parts[0] in ("http:", "https:"):
        return "is an address, and addresses are not fetched: download it first and pass the file"
    if not path.parent.is_dir():
        return f"does not exist, nor does its folder {str(path.parent)!r}: check the path"
    close = difflib.get_close_matches(path.name, islice(os.listdir(path.parent), MOST_NAMES), n=1, cutoff=0.7)
    return f"does not exist in {str(path.parent.absolute())!r}: " + (f"did you mean {close[0]!r}?" if close else "check the path")


def _from_readable(source: Readable, limits: PictureLimits) -> Pixels:
    name = f"a {type(source).__name__}"
    try:
        data: Any = source.read()
    except (OSError, ValueError, TypeError) as error:  # closed, opened for writing, not a file after all
        raise PictureError(f"`picture` {name} cannot be read ({error}): open it with `open(path, 'rb')`") from error
    if not isinstance(data, bytes | bytearray | memoryview):
        raise PictureError(f"`picture` {name} gives {type(data).__name__}, not bytes: open it with `open(path, 'rb')`")
    if not data:
        raise PictureError(f"`picture` {name} has no bytes left: `file.seek(0)` first if it was read or written before")
    return from_file(io.BytesIO(data), len(data), f"of {len(data)} bytes from {name}", limits)


def _described(source: object) -> str:
    if source is None:
        return "None, which is what `cv2.imread` gives for a file that it cannot read: check the path, or pass the path itself"
    needed = "a path, the bytes of a picture file, an open file, a PIL image, a u8 array or a tensor is needed"
    return f"a {type(source).__name__}; {needed}: pass one at a time"
