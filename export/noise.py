"""How much PyTorch's own float32 rounds: a few masked passes of the untouched model again in float64, a block at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.encoders import Tower
from export.reference import Floats, Reference


def score_noise(reference: Reference, pixels: NDArray[np.uint8], maps: Floats, texts: Floats) -> float:
    """The largest difference that float32 makes to a score of these masked passes; the first map's pass is the base."""
    narrow = reference.masked(pixels, maps)
    with widened(reference.loaded.model.visual):
        wide = reference.masked(pixels, maps, torch.float64)
    apart = (narrow[1:] - narrow[:1]) - (wide[1:] - wide[:1])
    return float(np.abs(texts @ apart.T).max())


@contextlib.contextmanager
def widened(visual: Tower) -> Iterator[None]:
    """Let an image tower compute in float64. A block is widened while it runs, so that there is never a second copy of all."""
    blocks = blocks_of(visual)
    inside = {id(tensor) for block in blocks for tensor in numbers_of(block)}
    outside = [tensor for tensor in numbers_of(visual) if id(tensor) not in inside]
    narrow: dict[int, Tensor] = {}  # what widened tensors held before

    def widen(tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            narrow[id(tensor)], tensor.data = tensor.data, tensor.data.double()

    def restore(tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            tensor.data = narrow.pop(id(tensor), tensor.data)

    handles = []
    for block in blocks:
        handles.append(block.register_forward_pre_hook(lambda module, inputs: widen(numbers_of(module))))
        handles.append(block.register_forward_hook(lambda module, inputs, output: restore(numbers_of(module))))
    widen(outside)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        restore(numbers_of(visual))


def blocks_of(visual: Tower) -> list[nn.Module]:
    """The parts that hold nearly all weights and run one after the other."""
    if hasattr(visual, "transformer"):
        return list(visual.transformer.resblocks)
    stages = (visual.layer1, visual.layer2, visual.layer3, visual.layer4)
    return [*chain.from_iterable(stages), visual.attnpool]


def numbers_of(module: nn.Module) -> list[Tensor]:
    """A module's floating-point parameters and buffers."""
    return [tensor for tensor in chain(module.parameters(), module.buffers()) if tensor.is_floating_point()]
