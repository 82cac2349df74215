"""Damage to bytes and to the pieces that a format is made of."""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    8,
    12,
    16,
    127,
    128,
    255,
    256,
    1000,
    4096,
    32767,
    32768,
    65535,
    65536,
    2**24 - 1,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
FLOATS = (0.0, 1.0, -1.0, 1e38, -1e38, float("nan"), float("inf"), 1e-45, 1e6, 65504.0)


def damaged(rng: random.Random, data: bytes, front: int = 400) -> bytes:
    """Change a few bytes, most of them near the front, where headers are."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 12))):
        if not changed:
            return b""
        at = rng.randrange(min(len(changed), front) if rng.random() < 0.7 else len(changed))
        kind = rng.randrange(6)
        if kind == 0:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[at] = rng.randrange(256)
        elif kind == 2:
            form = rng.choice(("<H", ">H", "<I", ">I"))
            number = struct.pack(form, rng.choice(NUMBERS) % 256 ** struct.calcsize(form))
            changed[at : at + len(number)] = number
        elif kind == 3:
            del changed[at : at + rng.choice((1, 2, 4, 50))]
        elif kind == 4:
            changed[at:at] = changed[at : at + rng.choice((1, 4, 30))] * rng.choice((1, 2, 40))
        elif rng.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def value(rng: random.Random, depth: int) -> Any:
    """Something that JSON can say."""
    simple = (None, True, "", "fast", "mean", "x" * 300, 10**30, -1, 0.5, *FLOATS, *NUMBERS)
    if depth and rng.random() < 0.3:
        return [value(rng, depth - 1) for _ in range(rng.choice((0, 1, 2, 2, 9)))]
    return rng.choice(simple)


def altered(rng: random.Random, content: Any) -> None:
    """Change, take out, add or exchange something, anywhere in what JSON said."""
    place = content
    while isinstance(place, dict | list) and place:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        key = rng.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and rng.random() < 0.8:
            place = place[key]
            continue
        kind = rng.randrange(6)
        if kind == 0:
            del place[key]
        elif kind == 1 and isinstance(place, dict):
            place[rng.choice(("other", "", "../x", "\0"))] = place[key]
        elif kind == 2:
            other = rng.choice(keys)
            place[key], place[other] = place[other], place[key]
        else:
            place[key] = value(rng, 3)
        return


def rearranged(rng: random.Random, pieces: list[bytes]) -> list[bytes]:
    """Leave out, repeat, swap or damage some pieces."""
    pieces = list(pieces)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not pieces:
            break
        at = rng.randrange(len(pieces))
        kind = rng.randrange(5)
        if kind == 0:
            del pieces[at]
        elif kind == 1:
            pieces[at:at] = [pieces[at]] * rng.choice((1, 2, 300))
        elif kind == 2:
            other = rng.randrange(len(pieces))
            pieces[at], pieces[other] = pieces[other], pieces[at]
        else:
            pieces[at] = damaged(rng, pieces[at], 64)
    return pieces


def png_pieces(data: bytes) -> list[bytes]:
    """The chunks, each without its length and checksum."""
    pieces, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        pieces.append(data[at + 4 : at + 8 + length])
        at += 12 + length
    return pieces


def png_joined(pieces: list[bytes]) -> bytes:
    """A file whose lengths and checksums are right, whatever its chunks are."""
    chunks = [struct.pack(">I", max(0, len(piece) - 4)) + piece + struct.pack(">I", zlib.crc32(piece)) for piece in pieces]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def jpeg_pieces(data: bytes) -> list[bytes]:
    """The segments, each with its marker; the coded data belong to the segment before them."""
    starts = [at for at in range(len(data) - 1) if data[at] == 0xFF and data[at + 1] not in (0, 0xFF, *range(0xD0, 0xD8))]
    return [data[start:end] for start, end in zip(starts, [*starts[1:], len(data)], strict=True)]


def riff_pieces(data: bytes) -> list[bytes]:
    """The chunks of a WebP file."""
    pieces, at = [], 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        pieces.append(data[at : at + 8 + length + length % 2])
        at += 8 + length + length % 2
    return pieces


def riff_joined(pieces: list[bytes]) -> bytes:
    """A WebP file whose outer length is right."""
    body = b"WEBP" + b"".join(pieces)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff_pieces(data: bytes) -> list[bytes]:
    """What comes before the directory, its entries, and what comes after them."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    entries = [data[start + 2 + 12 * index : start + 14 + 12 * index] for index in range(count)]
    return [data[: start + 2], *entries, data[start + 2 + 12 * count :]]


WHOLE: Callable[[list[bytes]], bytes] = b"".join
PIECES: dict[str, tuple[Callable[[bytes], list[bytes]], Callable[[list[bytes]], bytes]]] = {
    "PNG": (png_pieces, png_joined),
    "JPEG": (jpeg_pieces, WHOLE),
    "WEBP": (riff_pieces, riff_joined),
    "TIFF": (tiff_pieces, WHOLE),
}
