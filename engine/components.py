"""Principal components of a transformer's token features, as maps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.shapes import require


def principal_maps(facets: NDArray[np.floating], groups: int, components: int) -> NDArray[np.float32]:
    """Reduce facets (groups * d, h, w) to maps (groups * components, h, w), each group on its own.

    The d channels of a group are centred over the patches and projected on their leading directions, in
    descending variance. The entry of largest magnitude of each map is positive, the first one if several
    tie. A group of lower rank than `components` gives maps of zeros after its last direction.
    """
    if min(groups, components) < 1:
        raise ValueError(f"`groups` and `components` must be at least 1, found {groups} and {components}")
    require("facets", facets, (f"{groups} * d", "h", "w"))
    if len(facets) % groups:
        raise ValueError(f"`facets` must be made of {groups} equal groups, found {len(facets)} channels")
    _, height, width = facets.shape
    tokens = facets.astype(np.float64).reshape(groups, -1, height * width)
    maps = np.concatenate([_projections(group.T, components) for group in tokens])
    return maps.reshape(-1, height, width).astype(np.float32)


def _projections(tokens: NDArray[np.float64], components: int) -> NDArray[np.float64]:
    """Project tokens (n, d) on their leading directions: (components, n)."""
    patches, channels = tokens.shape
    centred = tokens - tokens.mean(axis=0)
    # The Gram matrix of the patches is small where that of the channels is not, and U * S is all we need.
    variance, directions = np.linalg.eigh(centred @ centred.T)
    variance, directions = variance[::-1], directions[:, ::-1]
    eps = np.finfo(np.float64).eps
    # Below the first bound a direction is noise of the decomposition, below the second noise of centring.
    floor = max(max(patches, channels) * eps * variance[0], (patches * eps) ** 2 * np.square(tokens).sum())
    rank = min(int(np.count_nonzero(variance > floor)), components)
    found = np.zeros((components, patches))
    found[:rank] = (directions[:, :rank] * np.sqrt(variance[:rank])).T
    return found * _signs(found)[:, None]


def _signs(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sign (C,) that makes the first entry of largest magnitude of each map (C, n) positive."""
    magnitude = np.abs(maps)
    # Entries that would be equal in exact arithmetic must count as a tie, or the sign hangs on rounding.
    first = np.argmax(magnitude >= magnitude.max(axis=1, keepdims=True) * (1 - 1e-9), axis=1)
    leading = maps[np.arange(len(maps)), first]
    return np.where(leading < 0, -1.0, 1.0)
