"""Reading `.safetensors`: a length, a table in JSON, and the tensors' bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.errors import WeightsError
from runtime.filling.tensors import FLOATS, Bytes, Tensor

COUNT = 8  # bytes of the length
LONGEST = 100_000_000  # bytes of a table; the format's own limit


def looks_safe(start: bytes) -> bool:
    """Whether a file begins as these files do."""
    return len(start) > COUNT and start[COUNT : COUNT + 1] == b"{" and int.from_bytes(start[:COUNT], "little") <= LONGEST


def read_safe(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file, none of them read yet."""
    content: Bytes = np.memmap(path, dtype=np.uint8, mode="r")
    end = COUNT + int.from_bytes(content[:COUNT].tobytes(), "little")
    if end > len(content):
        raise truncated(path, end, len(content))
    try:
        table = {name: found for name, found in json.loads(content[COUNT:end].tobytes()).items() if name != "__metadata__"}
        last = max((found["data_offsets"][1] for found in table.values()), default=0)
        if end + last > len(content):
            raise truncated(path, end + last, len(content))
        return {name: tensor(content[end:], found) for name, found in table.items() if found["dtype"] in FLOATS}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"`{path}` is damaged: its table of tensors cannot be read ({error}); fetch it again") from None


def tensor(content: Bytes, found: dict[str, object]) -> Tensor:
    """One line of the table, checked: it must neither lie outside of the file nor contradict itself."""
    kind, shape = str(found["dtype"]), tuple(int(size) for size in found["shape"])  # type: ignore[attr-defined]
    start, end = (int(offset) for offset in found["data_offsets"])  # type: ignore[attr-defined]
    dtype = FLOATS[kind]
    if min((start, end, *shape)) < 0 or end - start != int(np.prod(shape, dtype=np.int64)) * dtype.itemsize:
        raise ValueError(f"a tensor of shape {shape} in {end - start} bytes")

    def read() -> NDArray[np.generic]:
        return content[start:end].view(dtype).reshape(shape)

    return Tensor(shape, kind, read)


def truncated(path: Path, expected: int, found: int) -> WeightsError:
    """A file that ends too early."""
    return WeightsError(f"`{path}` is cut short: {expected} bytes belong to it, {found} are there; fetch it again")
