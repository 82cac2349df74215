"""One run, step by step: choose on `val`, report on all splits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.accuracy import presence
from bench.accuracy.evaluation import Evaluation
from bench.accuracy.figures import Figures, measure
from bench.accuracy.judge import judge_boxes, judge_pixels
from bench.accuracy.scored import WORLD, ScoredPicture, saliency_under
from bench.accuracy.search import THRESHOLDS, Best, Trial, Trials, best_published, search
from bench.accuracy.statistics import Estimate
from bench.terminal import Say
from bench.world.read import read_truth, scenes_of
from engine.spec import DEFAULT, PAPER, Geometry, Spec

CHOICES, REPORTED, ABSENT, WIDE = "val", "test", "absent", "wide"
GEOMETRIES: tuple[Geometry, ...] = ("squash", "letterbox", "crop", "stretch")


@dataclass(frozen=True, slots=True)
class SplitFigures:
    """The figures of one split under one spec."""

    split: str
    spec: Spec
    figures: Figures

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"split": self.split, "spec": self.spec.to_dict(), **self.figures.to_dict()}


@dataclass(frozen=True, slots=True)
class Wording:
    """What a set of templates finds, and its gain over the one that was asked for."""

    templates: str
    trial: Trial
    lead: Estimate

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"templates": self.templates, **self.trial.to_dict(), "lead": self.lead.to_list()}


@dataclass(slots=True)
class Results:
    """Filled in as the run goes on; what was not asked for stays empty."""

    about: dict[str, Any]
    splits: list[SplitFigures] = field(default_factory=list)
    best: Best | None = None
    published: Best | None = None
    pixel_curve: dict[float, float] = field(default_factory=dict)  # mIoU by threshold
    geometries: list[SplitFigures] = field(default_factory=list)
    wordings: list[Wording] = field(default_factory=list)
    margin: float | None = None  # over the base; chosen on `val`
    presence: presence.Presence | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: shares from 0 to 1, each as [value, low, high] where it has an interval."""
        paper = {"paper": self.published.to_dict()} if self.published else {}
        return {
            "about": self.about,
            "splits": [one.to_dict() for one in self.splits],
            "search": {**self.best.to_dict(), **paper} if self.best else None,
            "pixel_miou_by_threshold": {str(threshold): round(value, 5) for threshold, value in self.pixel_curve.items()},
            "geometries": [one.to_dict() for one in self.geometries],
            "wordings": [one.to_dict() for one in self.wordings],
            "margin": self.margin,
            "presence": self.presence.to_dict() if self.presence else None,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
        }


def run(evaluation: Evaluation, say: Say) -> Results:
    """Do everything that the settings ask for; `say` is told what comes next."""
    settings = evaluation.settings
    scenes_of(settings.data, {*settings.splits, *([CHOICES] if settings.sweep else [])})  # pictures that lack are told now
    results = Results(about(evaluation))
    if settings.sweep:
        say("val: search")
        choose(evaluation, results)
        say("val: wordings")
        results.wordings = try_wordings(evaluation, results)
    specs = [evaluation.spec, *([results.best.trial.spec] if results.best else [])]
    for split in settings.splits:
        say(f"{split}: figures")
        results.splits += [report(evaluation, results, split, spec) for spec in specs]
    if results.published and REPORTED in settings.splits:
        results.splits.append(report(evaluation, results, REPORTED, results.published.trial.spec))
    if WIDE in settings.splits:
        say("wide: geometries")
        placed = [specs[-1].replace(geometry=geometry) for geometry in GEOMETRIES]
        results.geometries = [report(evaluation, results, WIDE, spec) for spec in placed]
    if ABSENT in settings.splits:
        say("absent: what tells present from absent")
        margin = evaluation.localizer.manifest.presence if results.margin is None else results.margin
        pictures, saliency_of = evaluation.scored(ABSENT, specs[-1].geometry), saliency_under(specs[-1], evaluation.logit_scale)
        results.presence = presence.study(pictures, saliency_of, margin)
    results.about["passes"] = evaluation.scenes.passes
    results.seconds["encode"] = evaluation.seconds
    return results


def about(evaluation: Evaluation) -> dict[str, object]:
    """What was measured, on what."""
    truth = read_truth(evaluation.settings.data)
    return {
        **{key: value for key, value in evaluation.localizer.info.items() if key not in ("bundle", "opened_in_s")},
        "logit_scale": round(evaluation.logit_scale, 4),
        "nouns": len(truth["nouns"]),
        "pictures_sha256": truth["sha256"],
        "templates": evaluation.settings.templates,
        "limit": evaluation.settings.limit,
    }


def report(evaluation: Evaluation, results: Results, split: str, spec: Spec) -> SplitFigures:
    """All figures of a split under a spec."""
    pictures = evaluation.scored(split, spec.geometry)
    with clock(results, "figures"):
        return SplitFigures(split, spec, measure(pictures, saliency_under(spec, evaluation.logit_scale), spec))


def choose(evaluation: Evaluation, results: Results) -> None:
    """All that is chosen on `val`: the spec, the best setting of the published way, and the margin of presence."""
    base, scale = evaluation.fitted(DEFAULT), evaluation.logit_scale
    pictures = evaluation.scored(CHOICES, base.geometry)
    with clock(results, "search"):
        results.best = search(trials_on(evaluation, pictures), base)
        results.margin = presence.best_margin(pictures)
        spec = results.best.trial.spec
        pixels = judge_pixels(pictures, saliency_under(spec, scale), spec, THRESHOLDS)
        results.pixel_curve = dict(zip(THRESHOLDS, pixels.iou.mean(axis=0).tolist(), strict=True))
    pictures = evaluation.scored(CHOICES, PAPER.geometry)
    with clock(results, "search"):
        results.published = best_published(trials_on(evaluation, pictures), evaluation.fitted(PAPER), scale)


def try_wordings(evaluation: Evaluation, results: Results) -> list[Wording]:
    """The chosen spec, asked in other words."""
    spec, rows = (results.best.trial.spec if results.best else evaluation.spec), []
    own = trials_on(evaluation, evaluation.scored(CHOICES, spec.geometry))
    for templates in dict.fromkeys((evaluation.settings.templates, "plain", "paper", WORLD)):
        pictures = evaluation.scored(CHOICES, spec.geometry, templates)
        with clock(results, "search"):
            trials = trials_on(evaluation, pictures)
            best = trials.best(spec)
            rows.append(Wording(templates, best, trials.lead(best.spec, spec, own)))
    return rows


def trials_on(evaluation: Evaluation, pictures: list[ScoredPicture]) -> Trials:
    """Trials of the method itself on pictures."""
    return Trials(lambda spec: judge_boxes(pictures, saliency_under(spec, evaluation.logit_scale), spec, THRESHOLDS))


@contextmanager
def clock(results: Results, name: str) -> Iterator[None]:
    """Add the seconds spent to a step."""
    started = time.perf_counter()
    yield
    results.seconds[name] = results.seconds.get(name, 0.0) + time.perf_counter() - started
