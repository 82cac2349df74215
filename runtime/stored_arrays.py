"""Reads the arrays of an `.npz` from a stranger: stored members only, every size known before room is made for it.

NumPy's own reader decompresses, evaluates headers and trusts sizes. What `np.savez` writes needs none of that.
"""

from __future__ import annotations

import math
import re
import struct
import zlib
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

END = struct.Struct("<4sHHHHIIH")  # of the file: signature, disks, members here and in all, directory's size and place, comment
ENTRY = struct.Struct("<4sHHHHHHIIIHHHHHII")  # one member in the directory, before its name
LOCAL = struct.Struct("<4sHHHHHIIIHH")  # the same before its data
ENCRYPTED, MOST_MEMBERS, LONGEST_ENTRY, LONGEST_HEADER = 0x41, 64, 256, 1024

# What NumPy puts before an array, as it writes it.
SHAPE = rb"\((\d{1,10},|\d{1,10}(?:, \d{1,10}){1,3})\)"
HEADER = re.compile(rb"\{'descr': '(<f[248]|\|[ub]1)', 'fortran_order': (False|True), 'shape': " + SHAPE + rb", \} *\n")


class DamagedError(ValueError):
    """The file is not what it should be; the words say in what."""


@dataclass(frozen=True)
class StoredArray:
    """An array that lies in a file, of which only the header was read."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    transposed: bool
    place: int
    head: bytes
    checksum: int

    def read(self, file: IO[bytes]) -> NDArray[Any]:
        """The array itself."""
        flat = np.empty(math.prod(self.shape), self.dtype)
        file.seek(self.place)
        room = flat.view(np.uint8)
        if file.readinto(room) != flat.nbytes:  # type: ignore[attr-defined]
            raise DamagedError("it is cut short")
        if zlib.crc32(room.data, zlib.crc32(self.head)) != self.checksum:
            raise DamagedError("its checksum is wrong")
        return np.ascontiguousarray(flat.reshape(self.shape, order="F" if self.transposed else "C"))


def stored_arrays(file: IO[bytes], size: int, names: frozenset[str]) -> dict[str, StoredArray]:
    """Find the arrays in a file of `size` bytes; raises `DamagedError` where it holds anything but stored ones of these names."""
    count, place, length = _directory(file, size)
    file.seek(place)
    directory, at, total = _exactly(file, length), 0, 0
    found: dict[str, StoredArray] = {}
    for _ in range(count):
        entry = ENTRY.unpack(directory[at : at + ENTRY.size].ljust(ENTRY.size, b"\0"))
        signature, _, _, flags, method, _, _, checksum, packed, unpacked, *lengths = entry[:13]
        member = directory[at + ENTRY.size : at + ENTRY.size + lengths[0]].decode("ascii", "replace")
        name = member.removesuffix(".npy")
        at += ENTRY.size + sum(lengths)
        total += unpacked
        if signature != b"PK\1\2" or name == member or name not in names or name in found:
            raise DamagedError(f"it holds {member!r:.60}, which no scene does, or twice")
        if flags & ENCRYPTED or method or packed != unpacked:
            raise DamagedError(f"its {name} are compressed or encrypted, which no scene's are")
        if total > place:
            raise DamagedError("its members are larger than itself")
        found[name] = _stored(file, entry[16], unpacked, place, checksum)
    return found


def _directory(file: IO[bytes], size: int) -> tuple[int, int, int]:
    if size < END.size:
        raise DamagedError("it is too short")
    file.seek(size - END.size)
    signature, disk, first, here, count, length, place, comment = END.unpack(_exactly(file, END.size))
    if signature != b"PK\5\6" or (disk, first, comment) != (0, 0, 0) or here != count or place + length + END.size != size:
        raise DamagedError("it has no directory at its end")
    if count > MOST_MEMBERS or length > count * LONGEST_ENTRY:
        raise DamagedError(f"it has {count} members, and no scene has more than {MOST_MEMBERS}")
    return count, place, length


def _stored(file: IO[bytes], start: int, length: int, end: int, checksum: int) -> StoredArray:
    file.seek(start)
    local = LOCAL.unpack(_exactly(file, LOCAL.size))
    start += LOCAL.size + local[9] + local[10]
    if local[0] != b"PK\3\4" or start + length > end:
        raise DamagedError("its directory leads nowhere")
    file.seek(start)
    head = _exactly(file, min(length, 10))
    long = int.from_bytes(head[8:10], "little")
    if head[:8] != b"\x93NUMPY\1\0" or long > min(length - 10, LONGEST_HEADER):
        raise DamagedError("one of its members is no array")
    head += _exactly(file, long)
    told = HEADER.fullmatch(head[10:])
    if not told:
        raise DamagedError(f"one of its arrays says {head[10:90]!r} of itself")
    dtype, shape = np.dtype(told[1].decode()), tuple(int(number) for number in told[3].split(b",") if number)
    if len(head) + math.prod(shape) * dtype.itemsize != length:
        raise DamagedError(f"one of its arrays claims the shape {shape} and takes {length} bytes")
    return StoredArray(dtype, shape, told[2] == b"True", start + len(head), head, checksum)


def _exactly(file: IO[bytes], length: int) -> bytes:
    data = file.read(length)
    if len(data) != length:
        raise DamagedError("it is cut short")
    return data
