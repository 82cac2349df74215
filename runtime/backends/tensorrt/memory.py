"""What a TensorRT session owns on the card and beside it: typed buffers, and a list of all that has to be given back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.tensorrt.driver import Bytes, Driver
from runtime.errors import DeviceError

TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT64": "int64",
    "INT32": "int32",
    "INT8": "int8",
    "UINT8": "uint8",
    "BOOL": "bool",
}


@dataclass(frozen=True, slots=True)
class TensorBuffer:
    """Memory on the card for one input or output of the engine, with its type and shape."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    pointer: int
    is_input: bool


@dataclass(slots=True)
class CardResources:
    """All that has to be given back to the card."""

    driver: Driver
    pointers: list[int] = field(default_factory=list)
    pinned: list[Bytes] = field(default_factory=list)
    streams: list[int] = field(default_factory=list)
    graphs: list[int] = field(default_factory=list)

    def release(self) -> None:
        """Wait for the streams, then give everything back; called on any thread."""
        self.driver.select()
        for stream in self.streams:
            self.driver.synchronize(stream)
        for graph in self.graphs:
            self.driver.close_graph(graph)
        for pointer in self.pointers:
            self.driver.free(pointer)
        for host in self.pinned:
            self.driver.free_pinned(host)
        for stream in self.streams:
            self.driver.close_stream(stream)


def as_bytes(name: str, value: NDArray[Any], tensor: TensorBuffer) -> Bytes:
    """An input as bytes; its type and shape must be the engine's."""
    array = np.ascontiguousarray(value)
    if array.dtype != tensor.dtype or tuple(np.shape(value)) != tensor.shape:
        raise DeviceError(f"`{name}` must be {tensor.dtype} {tensor.shape}, found {array.dtype} {np.shape(value)}")
    return array.reshape(-1).view(np.uint8)


def from_bytes(host: Bytes, tensor: TensorBuffer) -> NDArray[np.float32]:
    """A copy of an output in its own shape; halves come back as float32, as from every backend."""
    return np.array(host.view(tensor.dtype).reshape(tensor.shape), dtype=np.float32)
