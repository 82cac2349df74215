"""Other ways to take out what every query would light up. None is part of the method; here is what each would be worth.

They compare a query with a fixed set of prompts: all nouns of the world, or some that are spread over them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.accuracy.judge import judge
from bench.accuracy.saliency import Maker, less_common, summed, weigh
from bench.accuracy.sheets import Sheet
from bench.accuracy.statistics import Estimate, share
from bench.accuracy.trials import THRESHOLDS, Trial, Trials
from engine.spec import Spec
from runtime.scene import Floats

Build = Callable[[Spec, float, float], Maker]  # a spec, the model's logit scale, a strength

STRENGTHS = (0.25, 0.5, 0.75, 1.0, 1.25)
PROMPTS = 64  # nouns whose saliency is averaged
WARM = (0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to make saliency, with the strengths and temperatures worth trying."""

    build: Build
    strengths: tuple[float, ...]
    temperatures: tuple[float, ...] = WARM


@dataclass(frozen=True, slots=True)
class Worth:
    """A variant at its best on the sheets that it was tuned on, and what it then finds on others."""

    name: str
    strength: float
    trial: Trial
    test: Estimate | None = None


def less_prompts(spec: Spec, logit_scale: float, strength: float) -> Maker:
    """Subtract the mean saliency of a set of prompts, each brought to the sum 1, instead of the average map."""
    tau = spec.tau(logit_scale)

    def make(sheet: Sheet, nouns: Sequence[int]) -> Floats:
        scores = np.concatenate([sheet.scores[list(nouns)], sheet.scores[:: max(1, len(sheet.scores) // PROMPTS)]])
        every = summed(sheet, weigh(scores, scores > 0, tau), spec)
        every = every / np.maximum(every.sum(axis=1, keepdims=True), np.float32(1e-12))
        usual = every[len(nouns) :].mean(axis=0)
        return np.asarray(np.maximum(every[: len(nouns)] - np.float32(strength) * usual, 0), np.float32)

    return make


def centred(spec: Spec, logit_scale: float, strength: float) -> Maker:
    """Subtract from each map's score its mean over all prompts; the base decides as ever which maps are kept."""
    tau = spec.tau(logit_scale)

    def make(sheet: Sheet, nouns: Sequence[int]) -> Floats:
        chosen = sheet.scores[list(nouns)]
        scores = chosen - np.float32(strength) * sheet.scores.mean(axis=0)
        return less_common(sheet, summed(sheet, weigh(scores, chosen > 0, tau), spec), spec.contrast)

    return make


def standardised(spec: Spec, logit_scale: float, strength: float) -> Maker:
    """Centre each map's score and divide it by its own spread over all prompts, as far as the strength says."""
    tau = spec.tau(logit_scale)

    def make(sheet: Sheet, nouns: Sequence[int]) -> Floats:
        chosen, spread = sheet.scores[list(nouns)], np.maximum(sheet.scores.std(axis=0), np.float32(1e-6))
        usual = np.median(spread[sheet.live]) if sheet.live.any() else np.float32(1)
        scores = (chosen - sheet.scores.mean(axis=0)) * (usual / spread) ** np.float32(strength)
        return less_common(sheet, summed(sheet, weigh(scores, chosen > 0, tau), spec), spec.contrast)

    return make


def ridge(spec: Spec, logit_scale: float, strength: float) -> Maker:
    """Explain the scores by what the masks let through: one coefficient per cell, positive ones kept."""
    return _regression(spec, strength, centre=False)


def ridge_centred(spec: Spec, logit_scale: float, strength: float) -> Maker:
    """The same for scores less their mean over all prompts."""
    return _regression(spec, strength, centre=True)


def _regression(spec: Spec, strength: float, centre: bool) -> Maker:
    def make(sheet: Sheet, nouns: Sequence[int]) -> Floats:
        scores = sheet.scores[list(nouns)] - (sheet.scores.mean(axis=0) if centre else 0)
        masks, scores = sheet.scaled[sheet.live].astype(np.float64), scores[:, sheet.live].astype(np.float64)
        masks, scores = masks - masks.mean(axis=0), scores - scores.mean(axis=1, keepdims=True)
        gram = masks.T @ masks
        gram += max(strength * float(np.trace(gram)) / len(gram), 1e-9) * np.eye(len(gram))
        saliency = np.linalg.solve(gram, masks.T @ scores.T).T
        return less_common(sheet, np.maximum(saliency, 0).astype(np.float32), spec.contrast)

    return make


ANY = (1.0,)  # a regression knows no temperature
RIDGES = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)
VARIANTS = {
    "less mean of prompts": Variant(less_prompts, STRENGTHS),
    "centred scores": Variant(centred, STRENGTHS),
    "standardised scores": Variant(standardised, (0.5, 1.0)),
    "ridge": Variant(ridge, RIDGES, ANY),
    "ridge, centred": Variant(ridge_centred, RIDGES, ANY),
}


def tune(name: str, sheets: Sequence[Sheet], spec: Spec, logit_scale: float) -> Worth:
    """The best strength, temperature and threshold of a variant, with and without the spec's own contrast."""
    variant = VARIANTS[name]
    strengths, middle = variant.strengths, variant.strengths[len(variant.strengths) // 2]
    contrasts = (0.0,) if variant.build is less_prompts else tuple(dict.fromkeys((spec.contrast, 0.0)))

    def at(strength: float) -> Trials:
        return Trials(lambda each: judge(sheets, variant.build(each, logit_scale, strength), each, THRESHOLDS))

    warm = [spec.replace(temperature=value, contrast=less) for value in variant.temperatures for less in contrasts]
    half = at(middle)
    best = max((half.best(each) for each in warm), key=lambda trial: trial.merit)
    found = [Worth(name, strength, at(strength).best(best.spec)) for strength in strengths if strength != middle]
    return max([Worth(name, middle, best), *found], key=lambda worth: worth.trial.merit)


def confirm(worth: Worth, sheets: Sequence[Sheet], logit_scale: float) -> Worth:
    """What a tuned variant finds on sheets that it was not tuned on."""
    spec = worth.trial.spec
    make = VARIANTS[worth.name].build(spec, logit_scale, worth.strength)
    outcome = judge(sheets, make, spec, [spec.threshold])
    return Worth(worth.name, worth.strength, worth.trial, share(outcome.best[:, 0] > 0.5))
