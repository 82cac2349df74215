"""How much PyTorch's own float32 rounds: a picture and a few of its passes again in float64, a block at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from export.encoders import Tower, numbers_of
from export.reference import Floats, Reference


@dataclass(frozen=True)
class Noise:
    """The largest difference that float32 makes."""

    scores: float
    maps: float  # relative to the largest value


def measure(reference: Reference, pixels: NDArray[np.uint8], masks: Floats, texts: Floats) -> Noise:
    """The noise of a picture's own maps, and of the scores of its passes by these masks; the first pass is the base."""
    narrow_maps, _ = reference.picture(pixels)
    narrow = reference.masked(pixels, masks)
    with widened(reference.loaded.model.visual):
        wide_maps, _ = reference.picture(pixels, torch.float64)
        wide = reference.masked(pixels, masks, torch.float64)
    apart = (narrow[1:] - narrow[:1]) - (wide[1:] - wide[:1])
    return Noise(scores=float(np.abs(texts @ apart.T).max()), maps=relative(narrow_maps, wide_maps))


def relative(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """The largest difference, relative to the largest value that is wanted."""
    return float(np.abs(found - wanted).max() / max(float(np.abs(wanted).max()), 1e-12))


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
