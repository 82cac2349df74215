"""Small files that cost much, made from nothing."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

from runtime.picture_formats import MARKER
from tests.runtime.samples import png_chunk


def jpeg_of_scans(width: int, height: int, scans: int) -> bytes:
    """A grey progressive JPEG that repeats its last scan, each of which costs as much as a first one."""
    stream = io.BytesIO()
    Image.new("L", (width, height), 128).save(stream, "JPEG", progressive=True)
    data = stream.getvalue()
    ends = [found.start() for found in MARKER.finditer(data)]
    last = next(at for at in reversed(ends) if data[at + 1] == 0xDA)
    table = next(at for at in reversed(ends) if at < last and data[at + 1] == 0xC4)
    have = sum(data[at + 1] == 0xDA for at in ends)
    return data[:-2] + data[table:-2] * (scans - have) + data[-2:]


def run_length_bmp(width: int, height: int) -> bytes:
    """A BMP whose rows are one pixel and the rest of the line."""
    runs = b"\x01\x01\x00\x00" * height
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 2, 0)
    start = 14 + len(header) + 8
    return b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + header + b"\0\0\0\0\xff\0\0\0" + runs


def webp_animation(width: int, height: int) -> bytes:
    """Two frames of 2 x 2 pixels on a canvas of any size."""
    stream = io.BytesIO()
    Image.new("RGB", (2, 2), "red").save(stream, "WEBP", lossless=True)
    still = stream.getvalue()
    at = still.index(b"VP8L")
    pixels = still[at : at + 8 + (int.from_bytes(still[at + 4 : at + 8], "little") + 1) // 2 * 2]
    frame = riff_chunk(b"ANMF", small(0) + small(0) + small(1) + small(1) + small(100) + b"\0" + pixels)
    canvas = riff_chunk(b"VP8X", bytes([0x12, 0, 0, 0]) + small(width - 1) + small(height - 1))
    return riff_chunk(b"RIFF", b"WEBP" + canvas + riff_chunk(b"ANIM", bytes(6)) + frame * 2)


def gif_frame(width: int, height: int, disposal: int = 2) -> bytes:
    """A GIF of 1 x 1 pixel whose only frame is of any size."""
    control = b"!\xf9\x04" + bytes([disposal << 2, 0, 0, 0, 0])
    frame = b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\x02\x4c\x01\x00;"
    return b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6) + control + frame


def png_ribbon(width: int, height: int) -> bytes:
    """A black PNG, which packs a thousandfold."""
    packer, row = zlib.compressobj(9), bytes(1 + width * 3)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": packed, b"IEND": b""}
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(name, data) for name, data in chunks.items())


def riff_chunk(name: bytes, data: bytes) -> bytes:
    """One chunk of a WebP file."""
    return name + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)


def small(number: int) -> bytes:
    """A number in WebP's three bytes."""
    return struct.pack("<I", number)[:3]
