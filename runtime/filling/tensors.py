"""The tensors of a checkpoint, by name, read from its file one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import WeightsError
from runtime.filling.recipes import Floats

Bytes = NDArray[np.uint8]
# Element types by the names that safetensors files give them. bfloat16 is the upper half of float32.
FLOATS: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file: its shape, its type, and how to get its numbers, in the order of its shape."""

    shape: tuple[int, ...]
    kind: str
    read: Callable[[], NDArray[np.generic]]

    def floats(self) -> Floats:
        """Its numbers in float32."""
        raw = self.read()
        if self.kind == "BF16":
            return (raw.astype(np.uint32) << 16).view(np.float32)
        return raw.astype(np.float32, copy=False)


class Tensors(Mapping[str, Floats]):
    """A checkpoint's floating-point tensors; each is read when it is asked for, and refused if it holds what is no number."""

    def __init__(self, found: Mapping[str, Tensor], source: str) -> None:
        self.found = {name: tensor for name, tensor in found.items() if tensor.kind in FLOATS}
        self.source = source

    def __getitem__(self, name: str) -> Floats:
        values = self.found[name].floats()
        if not np.isfinite(values).all():
            raise WeightsError(f"`{self.source}` holds NaN or infinity in `{name}`: it is damaged, or its training diverged")
        return values

    def __iter__(self) -> Iterator[str]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape."""
        return {name: tensor.shape for name, tensor in self.found.items()}

    def renamed(self, rename: Callable[[str], str]) -> Tensors:
        """The same tensors under other names."""
        return Tensors({rename(name): tensor for name, tensor in self.found.items()}, self.source)
