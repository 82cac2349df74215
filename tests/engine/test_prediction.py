"""Anchors: chosen to differ, exact where run, closer the more there are, and honest about how far off they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.prediction import Estimate, MaskKernel, choose_maps, estimate

K, D = 80, 12


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps `(K, 3, 3)`, all live, and embeddings that are a smooth function of their masks."""
    rng = np.random.default_rng(seed)
    maps = rng.random((K, 3, 3)).astype(np.float32)
    masks = MaskKernel.of(maps, np.ones(K, bool)).masks
    embeddings = np.tanh(masks @ rng.standard_normal((9, D)) * 0.3).astype(np.float32)
    return maps, np.ones(K, bool), embeddings


def told(count: int, seed: int = 0) -> tuple[Estimate, np.ndarray, np.ndarray]:
    maps, live, embeddings = world(seed)
    kernel = MaskKernel.of(maps, live)
    known = np.zeros(K, bool)
    known[choose_maps(kernel, live, count)] = True
    return estimate(kernel, known, np.where(known[:, None], embeddings, np.float32(np.nan))), known, embeddings


def test_known_rows_stay_and_the_others_need_nothing_but_them() -> None:
    found, known, embeddings = told(20)
    assert np.array_equal(found.embeddings[known], embeddings[known])
    assert np.isfinite(found.embeddings).all()
    assert (found.doubt[known] == 0).all()
    assert (found.doubt[~known] > 0).all()


def test_more_anchors_tell_more() -> None:
    errors = []
    for count in (5, 20, 60):
        found, known, embeddings = told(count)
        errors.append(np.abs(found.embeddings - embeddings)[~known].mean())
    assert errors[0] > 1.2 * errors[1] > 1.2 * errors[2]
    assert errors[1] < 0.6 * np.abs(world()[2] - world()[2].mean(axis=0)).mean()


def test_chosen_anchors_beat_the_first_ones() -> None:
    gains = []
    for seed in range(8):
        maps, live, embeddings = world(seed)
        kernel, first = MaskKernel.of(maps, live), np.arange(K) < 15
        found, known, _ = told(15, seed)
        plain = estimate(kernel, first, embeddings)
        gains.append(
            np.square(plain.embeddings - embeddings)[~first].mean() - np.square(found.embeddings - embeddings)[~known].mean()
        )
    assert np.mean(gains) > 0


def test_the_expected_error_is_of_the_size_of_the_true_one() -> None:
    expected, true = [], []
    text = np.eye(1, D, dtype=np.float32)
    for seed in range(10):
        found, known, embeddings = told(25, seed)
        expected.append(np.sqrt(np.square(found.errors(text)[0][~known]).mean()))
        true.append(np.sqrt(np.square((found.embeddings - embeddings)[~known, 0]).mean()))
    assert 0.5 < np.mean(expected) / np.mean(true) < 2


@given(seed=st.integers(0, 1000), count=st.integers(0, K + 5), dead=st.integers(0, K - 1))
def test_choice_is_of_live_maps_each_once(seed: int, count: int, dead: int) -> None:
    maps, live, _ = world(seed)
    maps[:dead], live[:dead] = 0.5, False
    chosen = choose_maps(MaskKernel.of(maps, live), live, count)
    assert len(chosen) == len(set(chosen.tolist())) == min(count, K - dead)
    assert live[chosen].all()


def test_twins_are_not_both_chosen_before_all_others() -> None:
    maps, live, _ = world()
    maps[1::2] = maps[::2]  # every map has a twin
    chosen = choose_maps(MaskKernel.of(maps, live), live, K // 4)
    assert len({index // 2 for index in chosen.tolist()}) == K // 4


def test_a_map_alike_to_an_anchor_gets_its_embedding() -> None:
    maps, live, embeddings = world()
    maps[7] = maps[3]
    known = np.arange(K) < 5
    found = estimate(MaskKernel.of(maps, live), known, embeddings)
    assert found.embeddings[7] == pytest.approx(embeddings[3], abs=0.01)
    assert found.doubt[7] < 0.1 < np.median(found.doubt[~known])


def test_one_live_map_is_enough() -> None:
    maps, live, embeddings = world()
    live[1:] = False
    kernel = MaskKernel.of(maps, live)
    assert choose_maps(kernel, live, 3).tolist() == [0]
    assert np.isfinite(estimate(kernel, live, embeddings).embeddings).all()
