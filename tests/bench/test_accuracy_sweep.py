"""The search finds what was planted; variants do what their names say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bench.accuracy.judge import Outcome
from bench.accuracy.saliency import maker
from bench.accuracy.sweep import SWITCHES, best_paper, climb, search
from bench.accuracy.trials import THRESHOLDS, Merit, Trials
from bench.accuracy.variants import VARIANTS, centred, less_prompts, ridge, ridge_centred, standardised, tune
from engine.spec import PAPER, Spec
from tests.bench.accuracy_made import LEFT, RIGHT, two_halves

QUERIES = 200
PLANTED = Spec(temperature=0.05, combine="masks", contrast=0.75, resize="mirror", connectivity=8, min_area=0.01, threshold=0.35)


def quality(spec: Spec) -> float:
    """How much of all queries a spec finds in a made-up world whose best spec is PLANTED."""
    loss = 0.05 * abs(math.log(spec.temperature / PLANTED.temperature)) + 0.2 * abs(spec.contrast - PLANTED.contrast)
    same = ("combine", "resize", "connectivity", "min_area")
    loss += 0.05 * sum(getattr(spec, name) != getattr(PLANTED, name) for name in same)
    return max(0.0, 0.95 - loss)


def outcome(spec: Spec) -> Outcome:
    """The first queries are found, as many as the spec's quality allows at each threshold."""
    shares = [quality(spec) - abs(threshold - PLANTED.threshold) for threshold in THRESHOLDS]
    best = np.array([[0.9 if place < QUERIES * share else 0.1 for share in shares] for place in range(QUERIES)])
    return Outcome(np.arange(QUERIES), np.array(THRESHOLDS), best, best, np.full_like(best, np.nan), np.ones_like(best))


def test_the_search_finds_the_planted_best() -> None:
    found = search(Trials(outcome), Spec())
    assert found.best.spec == PLANTED.replace(name="chosen")
    assert found.best.merit.gt_known == pytest.approx(0.95)


def test_the_table_says_what_each_switch_costs() -> None:
    found = search(Trials(outcome), Spec())
    assert {row.switch for row in found.rows} == set(SWITCHES)
    for switch in SWITCHES:
        rows = [row for row in found.rows if row.switch == switch]
        assert [row.value for row in rows if row.chosen] == [getattr(PLANTED, switch)]
        assert all(row.lead.value <= 0 for row in rows)
    raw = next(row for row in found.rows if row.value == "raw")
    assert raw.lead.value == pytest.approx(-0.05)
    assert raw.lead.low < raw.lead.value < raw.lead.high <= 0
    assert [trial.spec.threshold for trial in found.thresholds] == list(THRESHOLDS)


def test_a_base_outside_the_tables_is_kept_when_nothing_beats_it() -> None:
    trials = Trials(lambda spec: outcome(PLANTED if spec.temperature == 0.123 else spec.replace(temperature=9.0)))
    found = search(trials, Spec(temperature=0.123))
    assert found.best.spec.temperature == 0.123
    assert [row.value for row in found.rows if row.switch == "temperature" and row.chosen] == [0.123]


def test_equal_values_move_nothing() -> None:
    flat = Trials(lambda spec: outcome(PLANTED))
    start = Spec(temperature=0.3, threshold=0.9)
    assert climb(flat, start).spec == start.replace(threshold=PLANTED.threshold)


def test_specs_that_differ_in_the_threshold_alone_are_judged_once() -> None:
    judged: list[Spec] = []
    trials = Trials(lambda spec: judged.append(spec) or outcome(spec))  # type: ignore[func-returns-value]
    trials.best(Spec(threshold=0.2))
    trials.curve(Spec(threshold=0.8, name="other"))
    trials.lead(Spec(threshold=0.3), Spec(threshold=0.4))
    assert len(judged) == 1


def test_the_published_setting_is_swept_in_plain_cosine() -> None:
    warm, curve = best_paper(Trials(outcome), PAPER, 20.0)
    assert {trial.spec.score_space for trial in warm} == {"cosine"}
    assert 1.0 in [trial.spec.temperature for trial in warm]
    assert {trial.spec.replace(temperature=1.0, threshold=0.6) for trial in warm} == {PAPER}
    assert len(curve) == len(THRESHOLDS)
    best = max(warm, key=lambda trial: trial.merit).spec.temperature
    assert best == 0.05
    assert {trial.spec.temperature for trial in curve} == {best}


SPEC = Spec(temperature=0.1, score_space="cosine", combine="masks")


@pytest.mark.parametrize("build", [less_prompts, centred, standardised, ridge, ridge_centred])
def test_variants_keep_the_halves_apart(build) -> None:  # noqa: ANN001
    saliency = build(SPEC, 1.0, 1.0)(two_halves(), [LEFT, RIGHT]).reshape(2, 2, 2)
    assert saliency.min() >= 0
    assert (saliency[0, :, 0] > saliency[0, :, 1]).all()
    assert (saliency[1, :, 1] > saliency[1, :, 0]).all()


def test_centring_with_no_strength_is_the_method_itself() -> None:
    sheet, spec = two_halves(), SPEC.replace(contrast=0.5)
    np.testing.assert_allclose(centred(spec, 1.0, 0.0)(sheet, [0, 1, 2]), maker(spec, 1.0)(sheet, [0, 1, 2]), atol=1e-6)


def test_a_variant_is_tuned_to_the_halves() -> None:
    assert set(VARIANTS) >= {"ridge", "centred scores", "less mean of prompts"}
    found = tune("centred scores", [two_halves(0), two_halves(1)], SPEC, 1.0)
    assert found.trial.merit.gt_known == 1.0
    assert found.test is None


def test_a_flicker_of_the_mean_overlap_beats_nothing() -> None:
    base = Merit(0.8, 0.7, 0.6)
    assert not Merit(0.8, 0.7, 0.602).beats(base)
    assert Merit(0.8, 0.7, 0.61).beats(base)
    assert Merit(0.8, 0.71, 0.5).beats(base)
    assert not Merit(0.79, 0.9, 0.9).beats(base)
