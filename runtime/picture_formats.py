"""The closed list of picture formats, and what their headers tell before anything is decoded."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import IO

from PIL import Image

from runtime.errors import PictureError
from runtime.picture_limits import PictureLimits, check_size
from runtime.picture_readers import TooLarge, accepts, reader

# A closed list: some of Pillow's other readers start programs (EPS) or have no signature to go by (TGA).
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM")

# How many ordinary pixels one pixel of these kinds is worth: a run-length coded BMP is decoded in Python, the canvas of an
# animated WebP is held five times over, and a JPEG 2000 of small code blocks takes eighty bytes for each of its pixels.
RUN_LENGTH_WEIGHT = 12
ANIMATION_WEIGHT = 4
JPEG2000_WEIGHT = 8
USUAL_SCANS = 10  # of a progressive JPEG; more of them count as more pixels

# A marker that neither belongs to the coded data (0, restarts) nor stands alone.
MARKER = re.compile(rb"\xff[^\x00\x01\xff\xd0-\xd7]")
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
SEQUENTIAL = (0xC0, 0xC1, 0xC9)

ORIENTATION_TAG = 0x0112


def open_picture(stream: IO[bytes], name: str, limits: PictureLimits, formats: Sequence[str] = FORMATS) -> Image.Image:
    """Read the header only, and refuse what would cost more than the limits."""
    prefix = stream.read(40)
    kind = next((kind for kind in formats if accepts(kind, prefix[:16])), None)
    if kind is None:
        raise PictureError(
            f"`picture` {name} is not a picture that can be read (it begins with {prefix[:8]!r}): "
            f"give one of {', '.join(formats)}, or pass the decoded pixels"
        )
    name = f"{name} ({kind})"
    weight = _weight(kind, prefix, stream, name, limits)
    stream.seek(0)
    try:
        image = reader(kind, int(limits.pixels / weight))(stream, "")
    except TooLarge as found:  # the reader was about to make room for it
        check_size(found.size, name, limits, weight)
        raise
    except Exception as error:  # a damaged header makes Pillow's readers raise almost anything
        found_fault = str(error) or type(error).__name__
        raise PictureError(f"`picture` {name} is damaged or cut short ({found_fault}): copy or download it again") from error
    check_size(image.size, name, limits, weight)
    return image


def _weight(kind: str, prefix: bytes, stream: IO[bytes], name: str, limits: PictureLimits) -> float:
    if kind == "BMP" and prefix[30:34] in (b"\1\0\0\0", b"\2\0\0\0"):
        return RUN_LENGTH_WEIGHT
    if kind == "WEBP" and prefix[12:16] == b"VP8X" and len(prefix) > 20 and prefix[20] & 2:
        return ANIMATION_WEIGHT
    if kind == "JPEG2000":
        return JPEG2000_WEIGHT
    if kind != "JPEG":
        return 1
    stream.seek(0)
    scans = count_scans(stream.read(), limits.scans)
    if scans > limits.scans:
        raise PictureError(f"`picture` {name} has more than {limits.scans} scans, which no camera or program makes: save it anew")
    return max(1.0, scans / USUAL_SCANS)


def count_scans(data: bytes, most: int) -> int:
    """Count the scans of a JPEG that a decoder would read, up to `most` + 1; an ordinary one is told after its header."""
    scans, at, frame, components = 0, 2, 0, 0
    while scans <= most and (found := MARKER.search(data, at)):
        kind, at = data[found.start() + 1], found.end()
        if kind == END_OF_IMAGE:
            break
        if kind in FRAMES and at + 7 < len(data):
            frame, components = kind, data[at + 7]
        if kind == START_OF_SCAN:
            scans += 1
            if scans == 1 and frame in SEQUENTIAL and data[at + 2 : at + 3] == bytes([components]):
                break  # all components in one scan: the decoder stops there
        at += int.from_bytes(data[at : at + 2], "big")
    return scans


def orientation_of(image: Image.Image) -> int:
    """The camera's orientation as an opened file tells it, 1 (upright) where it tells none.

    Pillow's own way reads all notes, and warns of every damaged one.
    """
    tags = getattr(image, "tag_v2", None)
    if tags is not None:  # a TIFF
        found = tags.get(ORIENTATION_TAG, 1)
        return found if isinstance(found, int) else 1
    notes = image.info.get("exif")
    if notes is None:  # ImageMagick's way of keeping them in a PNG: two lines, then hexadecimal digits
        words = str(image.info.get("Raw profile type exif", "")).split()[2:]
        try:
            notes = bytes.fromhex("".join(words))
        except ValueError:
            return 1
    return _exif_orientation(notes if isinstance(notes, bytes) else b"")


def _exif_orientation(notes: bytes) -> int:
    notes = notes.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(notes[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", notes, 4)
        (count,) = struct.unpack_from(f"{order}H", notes, start)
        for entry in range(count):
            at = start + 2 + 12 * entry
            tag, dtype = struct.unpack_from(f"{order}HH", notes, at)
            if tag == ORIENTATION_TAG:
                return int(struct.unpack_from(order + {3: "H", 4: "I"}.get(dtype, "x"), notes, at + 8)[0])
    except (struct.error, IndexError):  # a picture with unreadable notes is still a picture
        return 1
    return 1
