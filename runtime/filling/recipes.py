"""From a checkpoint's tensors to a graph's: the few steps that a template's recipes may take.

A recipe is a tensor's name and what is done to it, in order: `visual.attnpool.q_proj.weight | times 0.125 | heads 32 | swap`.
Every step is one that IEEE arithmetic rounds in one way only, so that equal weights give equal bytes on every machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Tensors = Mapping[str, Floats]

THEN = " | "
BATCH_NORM_EPS = np.float32(1e-5)


def follow(recipe: str, tensors: Tensors) -> Floats:
    """Make a graph's tensor; its bytes are what counts, its shape is the template's to say."""
    name, *steps = recipe.split(THEN)
    value = tensors[name]
    for step in steps:
        verb, *words = step.split()
        value = STEPS[verb](value, words, tensors)
    return value


def swap(value: Floats, words: list[str], tensors: Tensors) -> Floats:
    """Exchange the last two axes."""
    return np.swapaxes(value, -1, -2)


def heads(value: Floats, words: list[str], tensors: Tensors) -> Floats:
    """Split a projection `(H * d, C)` into its heads `(H, d, C)`."""
    return value.reshape(int(words[0]), -1, value.shape[-1])


def times(value: Floats, words: list[str], tensors: Tensors) -> Floats:
    """Scale."""
    return value * np.float32(words[0])


def over(value: Floats, words: list[str], tensors: Tensors) -> Floats:
    """Divide."""
    return value / np.float32(words[0])


def rows(value: Floats, words: list[str], tensors: Tensors) -> Floats:
    """Keep the rows from one number up to another."""
    return value[int(words[0]) : int(words[1])]


def repeat(value: Floats, words: list[str], tensors: Tensors) -> Floats:
    """Lay a number of copies one after the other."""
    return np.tile(value.reshape(-1), int(words[0]))


def rounded(value: Floats, words: list[str], tensors: Tensors) -> Floats:
    """Round to half precision, as norms are where all else is half."""
    return value.astype(np.float16).astype(np.float32)


def fold(value: Floats, words: list[str], tensors: Tensors) -> Floats:
    """Take the BatchNorm that follows a convolution into its weight."""
    norm = words[0]
    scale = tensors[f"{norm}.weight"] * spread(norm, tensors)
    return value * scale.reshape(-1, 1, 1, 1)


def shift(value: Floats, words: list[str], tensors: Tensors) -> Floats:
    """Take the BatchNorm that follows a convolution into a bias, which is the BatchNorm's own before."""
    norm = words[0]
    centre = np.float32(0) - tensors[f"{norm}.running_mean"]
    return centre * spread(norm, tensors) * tensors[f"{norm}.weight"] + value


def spread(norm: str, tensors: Tensors) -> Floats:
    """One over the standard deviation of a BatchNorm's channels."""
    found: Floats = np.float32(1) / np.sqrt(tensors[f"{norm}.running_var"] + BATCH_NORM_EPS)
    return found


STEPS: dict[str, Callable[[Floats, list[str], Tensors], Floats]] = {
    "swap": swap,
    "heads": heads,
    "times": times,
    "over": over,
    "rows": rows,
    "repeat": repeat,
    "rounded": rounded,
    "fold": fold,
    "shift": shift,
}
