"""Tensors of other libraries as pictures, by the DLPack protocol: none of those libraries is imported."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import PictureError

ON_HOST = (1, 3, 11)  # DLPack's numbers for the processor's memory, plain or pinned for a card (CUDA, ROCm)
CHANNELS = (1, 3, 4)


class Tensor(Protocol):
    """What PyTorch, JAX, CuPy, TensorFlow and others call a tensor or an array."""

    def __dlpack__(self, *, stream: Any = None) -> Any:  # noqa: ANN401 - the protocol's own capsule
        """Give the memory itself."""
        ...

    def __dlpack_device__(self) -> tuple[Any, int]:
        """Say where that memory is."""
        ...


def from_tensor(tensor: Tensor) -> NDArray[np.generic]:
    """A tensor as an array with channels last: u8 as they are, floats from 0 to 1 as u8; the tensor itself stays as it is.

    Channels first, the usual way of tensors, is told by a first length of 1, 3 or 4 where the last is none of these.
    """
    name = f"a {type(tensor).__module__.partition('.')[0]} {type(tensor).__name__}"
    place = int(tensor.__dlpack_device__()[0])
    if place not in ON_HOST:
        raise PictureError(f"`picture` is {name} on a card; pass `tensor.cpu()`")
    try:
        array: NDArray[np.generic] = np.from_dlpack(tensor)
    except Exception as error:  # each library has its own: a gradient is wanted, numpy has no such type
        raise PictureError(f"`picture` is {name} that cannot be read ({error}); pass `tensor.detach().cpu().float()`") from error
    if array.ndim == 3 and array.shape[0] in CHANNELS and array.shape[2] not in CHANNELS:
        array = array.transpose(1, 2, 0)
    return scaled(array, name) if array.dtype.kind == "f" else array


def scaled(array: NDArray[np.generic], name: str) -> NDArray[np.uint8]:
    """Floats from 0 to 1 as u8; others are refused, for they were normalised for some model, or are of another scale."""
    low, high = (float(array.min()), float(array.max())) if array.size else (0.0, 0.0)
    if not (low >= 0.0 and high <= 1.0):
        raise PictureError(
            f"`picture` is {name} of floats from {low:.3g} to {high:.3g}; floats must run from 0 to 1: undo the scaling"
        )
    return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
