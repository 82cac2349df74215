from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.components import principal_maps


def plain_svd(group: np.ndarray, components: int) -> np.ndarray:
    """Left vectors times singular values of the centred tokens, signed like the module promises."""
    channels, height, width = group.shape
    tokens = group.reshape(channels, -1).T.astype(np.float64)
    left, scale, _ = np.linalg.svd(tokens - tokens.mean(axis=0), full_matrices=False)
    maps: np.ndarray = (left * scale).T[:components]
    for index, row in enumerate(maps):
        if row[np.argmax(np.abs(row))] < 0:
            maps[index] = -row
    return maps.reshape(-1, height, width)


@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(6, 30))
def test_agrees_with_a_plain_svd(seed: int, groups: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    scales = 2.0 ** -np.arange(channels)[:, None, None]  # well separated directions
    facets = np.concatenate([rng.normal(size=(channels, 3, 5)) * scales for _ in range(groups)])
    found = principal_maps(facets, groups, 4)
    expected = np.concatenate([plain_svd(group, 4) for group in np.split(facets, groups)])
    assert found.shape == (groups * 4, 3, 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_more_patches_than_channels_and_the_reverse() -> None:
    rng = np.random.default_rng(0)
    for channels in (3, 200):
        facets = rng.normal(size=(channels, 4, 4))
        np.testing.assert_allclose(principal_maps(facets, 1, 3), plain_svd(facets, 3), atol=1e-5)


def test_missing_directions_are_zero_maps() -> None:
    rng = np.random.default_rng(1)
    facets = np.outer(rng.normal(size=8), rng.normal(size=9)).reshape(8, 3, 3)
    found = principal_maps(facets, 1, 4)
    assert found[0].any()
    assert not found[1:].any()
    assert principal_maps(rng.normal(size=(5, 2, 2)), 1, 7)[3:].max() == 0  # centred, so at most n - 1


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6, 1e-20])
def test_constant_facets_have_no_direction(value: float) -> None:
    assert not principal_maps(np.full((6, 14, 14), value, np.float32), 2, 3).any()


def test_sign_and_tie() -> None:
    """One channel is its own direction: (-1, 1) ties in magnitude, so the first entry becomes positive."""
    np.testing.assert_allclose(principal_maps(np.array([[[-1.0, 1.0]]]), 1, 1), [[[1, -1]]], atol=1e-6)
    np.testing.assert_allclose(principal_maps(np.array([[[0.0, 0.0, -3]]]), 1, 1), [[[-1, -1, 2]]], atol=1e-6)


def test_equal_up_to_rounding_is_a_tie() -> None:
    found = principal_maps(np.array([[[-1.0, 0.0, 1.0 + 1e-12]]]), 1, 1)
    np.testing.assert_allclose(found, [[[1, 0, -1]]], atol=1e-6)


def test_sign_does_not_hang_on_the_sign_of_the_input() -> None:
    facets = np.random.default_rng(2).normal(size=(6, 3, 3))
    np.testing.assert_allclose(principal_maps(facets, 1, 3), principal_maps(-facets, 1, 3), atol=1e-6)


def test_descending_variance_and_zero_mean() -> None:
    found = principal_maps(np.random.default_rng(3).normal(size=(20, 5, 5)), 1, 6)
    variances = np.square(found).sum(axis=(1, 2))
    assert (np.diff(variances) <= 0).all()
    np.testing.assert_allclose(found.mean(axis=(1, 2)), 0, atol=1e-6)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="made of 2 equal groups, found 3 channels"):
        principal_maps(np.zeros((3, 2, 2)), 2, 1)
    with pytest.raises(ValueError, match="must be at least 1, found 0 and 1"):
        principal_maps(np.zeros((3, 2, 2)), 0, 1)
    with pytest.raises(ValueError, match=r"`facets` must have the shape \(1 \* d, h, w\)"):
        principal_maps(np.zeros((3, 2)), 1, 1)
