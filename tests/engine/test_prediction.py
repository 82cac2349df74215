"""Predictions: exact where run, closer the more was run, honest about how far off they are, and the same however they grew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.prediction import JITTER, Kernel, Regression, choose_maps, choose_telling, squared_distances

K, D = 80, 12


def world(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Maps `(K, 3, 3)`, all live, and embeddings that are a smooth function of their masks."""
    rng = np.random.default_rng(seed)
    maps = rng.random((K, 3, 3)).astype(np.float32)
    flat = maps.reshape(K, -1)
    masks = (flat - flat.min(axis=1, keepdims=True)) / np.ptp(flat, axis=1, keepdims=True)
    embeddings = np.tanh(masks @ rng.standard_normal((9, D)) * 0.3).astype(np.float32)
    return maps, np.ones(K, bool), embeddings


def told(count: int, seed: int = 0) -> tuple[Regression, np.ndarray, np.ndarray]:
    """The regression of some chosen maps, what it predicts, and the truth."""
    maps, live, embeddings = world(seed)
    kernel = Kernel.of(maps, live)
    regression = Regression.begin(kernel, choose_maps(kernel, live, count))
    return regression, regression.predict(embeddings[regression.rows]), embeddings


def rest(regression: Regression) -> np.ndarray:
    return np.setdiff1d(np.arange(K), regression.rows)


def plain(kernel: Kernel, rows: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prediction, doubt and held-out errors in units of doubt, from the inverse of the whole kernel in double precision."""
    whole = np.mean([np.exp(-squared_distances(f.rows, f.rows[rows]) / 2) for f in kernel.features], axis=0).astype(np.float64)
    inverse = np.linalg.inv(whole[rows] + JITTER * np.eye(len(rows)))
    mean = inverse.sum(axis=0) @ targets / inverse.sum()
    weights = inverse @ (targets - mean)
    doubt = np.sqrt(1 + JITTER - ((whole @ inverse) * whole).sum(axis=1))
    return whole @ weights + mean, doubt, weights / np.sqrt(np.diag(inverse))[:, None]


@pytest.mark.parametrize("steps", [(40,), (1, 2, 3, 34), (20, 20)])
def test_however_it_grew_it_is_the_plain_formula(steps: tuple[int, ...]) -> None:
    maps, live, embeddings = world()
    kernel = Kernel.of(maps, live, embeddings + np.float32(0.1))
    rows = np.random.default_rng(1).permutation(K)[:40]
    regression = Regression.begin(kernel, rows[:0])
    for place in np.split(rows, np.cumsum(steps)[:-1]):
        regression = regression.grow(place)
    predicted, doubt, residuals = plain(kernel, rows, embeddings[rows])
    others = rest(regression)
    np.testing.assert_allclose(regression.predict(embeddings[rows])[others], predicted[others], atol=1e-4)
    np.testing.assert_allclose(regression.doubt()[others], doubt[others], atol=1e-3)
    wanted = np.outer(doubt, np.sqrt(np.square(residuals).mean(axis=0)))[others]
    np.testing.assert_allclose(regression.errors(embeddings[rows])[others], wanted, rtol=0.01)


def test_rows_that_were_run_stay() -> None:
    regression, predicted, embeddings = told(20)
    np.testing.assert_allclose(predicted[regression.rows], embeddings[regression.rows])
    assert np.isfinite(predicted).all()
    assert (regression.doubt()[regression.rows] == 0).all()
    assert (regression.doubt()[rest(regression)] > 0).all()


def test_nothing_run_predicts_nothing() -> None:
    maps, live, _ = world()
    nothing = Regression.begin(Kernel.of(maps, live), np.zeros(0, np.intp))
    assert not nothing.predict(np.zeros((0, 3), np.float32)).any()
    assert nothing.doubt() == pytest.approx(1, abs=0.01)


def test_more_that_was_run_tells_more() -> None:
    errors = []
    for count in (5, 20, 60):
        regression, predicted, embeddings = told(count)
        errors.append(np.abs(predicted - embeddings)[rest(regression)].mean())
    assert errors[0] > 1.2 * errors[1] > 1.2 * errors[2]
    assert errors[1] < 0.6 * np.abs(world()[2] - world()[2].mean(axis=0)).mean()


def test_chosen_maps_beat_the_first_ones() -> None:
    gains = []
    for seed in range(8):
        maps, live, embeddings = world(seed)
        first = Regression.begin(Kernel.of(maps, live), np.arange(15))
        chosen, predicted, _ = told(15, seed)
        wrong = [
            np.square(found - embeddings)[rest(each)].mean()
            for each, found in ((first, first.predict(embeddings[:15])), (chosen, predicted))
        ]
        gains.append(wrong[0] - wrong[1])
    assert np.mean(gains) > 0


def test_the_expected_error_is_of_the_size_of_the_true_one() -> None:
    expected, true = [], []
    for seed in range(10):
        regression, predicted, embeddings = told(25, seed)
        others = rest(regression)
        expected.append(np.sqrt(np.square(regression.errors(embeddings[regression.rows])[others, 0]).mean()))
        true.append(np.sqrt(np.square((predicted - embeddings)[others, 0]).mean()))
    assert 0.5 < np.mean(expected) / np.mean(true) < 2


def test_like_guesses_make_maps_alike_too() -> None:
    maps, live, embeddings = world()
    maps[:] = np.random.default_rng(5).random(maps.shape)  # masks that tell nothing of these embeddings
    rows = np.arange(30)
    wrong = []
    for guess in (None, embeddings):
        predicted = Regression.begin(Kernel.of(maps, live, guess), rows).predict(embeddings[rows])
        wrong.append(np.square(predicted - embeddings)[30:].mean())
    assert wrong[1] < 0.7 * wrong[0]


@given(seed=st.integers(0, 1000), count=st.integers(0, K + 5), dead=st.integers(0, K - 1))
def test_choice_is_of_live_maps_each_once(seed: int, count: int, dead: int) -> None:
    maps, live, _ = world(seed)
    maps[:dead], live[:dead] = 0.5, False
    chosen = choose_maps(Kernel.of(maps, live), live, count)
    assert len(chosen) == len(set(chosen.tolist())) == min(count, K - dead)
    assert live[chosen].all()


def test_twins_are_not_both_chosen_before_all_others() -> None:
    maps, live, _ = world()
    maps[1::2] = maps[::2]  # every map has a twin
    chosen = choose_maps(Kernel.of(maps, live), live, K // 4)
    assert len({index // 2 for index in chosen.tolist()}) == K // 4


def test_what_all_guesses_share_does_not_matter() -> None:
    maps, live, embeddings = world()
    near, far = (Kernel.of(maps, live, embeddings + np.float32(offset)) for offset in (0, 3000))
    np.testing.assert_allclose(far.among(np.arange(K)), near.among(np.arange(K)), atol=0.01)


@given(seed=st.integers(0, 1000), ran=st.integers(0, 6))
def test_each_map_chosen_for_a_question_leaves_least_unknown(seed: int, ran: int) -> None:
    maps, live, embeddings = world(seed)
    rng = np.random.default_rng(seed)
    weights = rng.random(K).astype(np.float32)
    weights[rng.permutation(K)[25:]] = 0
    regression = Regression.begin(Kernel.of(maps, live, embeddings), np.flatnonzero(weights == 0)[:ran])
    chosen = choose_telling(regression, weights, 5)
    assert len(set(chosen.tolist())) == 5
    for step, best in enumerate(chosen):
        before = regression.grow(chosen[:step])
        others = np.setdiff1d(np.flatnonzero(weights), chosen[:step])
        left = {index: np.square(weights * unknown(before.grow(np.array([index])))).sum() for index in others.tolist()}
        assert left[int(best)] == pytest.approx(min(left.values()), rel=1e-3)


def unknown(regression: Regression) -> np.ndarray:
    """What is unknown of every map, of those that were run too, whose own run leaves a little."""
    return np.sqrt(np.maximum(1 + JITTER - np.square(regression.factor.astype(np.float64)).sum(axis=1), 0))


def test_no_more_is_chosen_than_has_weight() -> None:
    maps, live, _ = world()
    weights = np.zeros(K, np.float32)
    regression = Regression.begin(Kernel.of(maps, live), np.zeros(0, np.intp))
    assert choose_telling(regression, weights, 4).tolist() == []
    weights[[3, 9]] = 1e-9, 1
    assert choose_telling(regression, weights, 4).tolist() == [9, 3]


def test_a_map_alike_to_one_that_was_run_gets_its_embedding() -> None:
    maps, live, embeddings = world()
    maps[7] = maps[3]
    regression = Regression.begin(Kernel.of(maps, live), np.arange(5))
    assert regression.predict(embeddings[:5])[7] == pytest.approx(embeddings[3], abs=0.01)
    assert regression.doubt()[7] < 0.1 < np.median(regression.doubt()[5:])


def test_one_live_map_is_enough() -> None:
    maps, live, embeddings = world()
    live[1:] = False
    kernel = Kernel.of(maps, live)
    assert choose_maps(kernel, live, 3).tolist() == [0]
    assert np.isfinite(Regression.begin(kernel, np.array([0])).predict(embeddings[:1])).all()
