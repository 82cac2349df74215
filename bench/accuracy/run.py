"""One run, step by step: choose on `val`, report on all splits."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from bench.accuracy import presence, variants
from bench.accuracy.figures import measure
from bench.accuracy.judge import judge, judge_pixels
from bench.accuracy.lab import Lab
from bench.accuracy.results import Line, Results, Wording
from bench.accuracy.saliency import maker
from bench.accuracy.sheets import Sheet
from bench.accuracy.sweep import Search, best_paper, search
from bench.accuracy.trials import THRESHOLDS, Trials
from bench.accuracy.words import WORLD
from bench.world.read import read_truth, scenes_of
from engine.spec import DEFAULT, PAPER, Geometry, Spec

CHOICES, REPORTED, ABSENT, WIDE = "val", "test", "absent", "wide"
GEOMETRIES: tuple[Geometry, ...] = ("squash", "letterbox", "crop", "stretch")

Say = Callable[[str], None]


def run(lab: Lab, say: Say) -> Results:
    """Do everything that the options ask for; `say` is told what comes next."""
    options = lab.options
    scenes_of(options.data, {*options.splits, *([CHOICES] if options.sweep else [])})  # pictures that lack are told now
    results = Results(about(lab))
    if options.sweep:
        choose(lab, results, say)
    specs = [lab.spec, *([results.search.best.spec] if results.search else [])]
    for split in options.splits:
        say(f"{split}: figures")
        results.lines += [report(lab, results, split, spec) for spec in specs]
    if results.search and results.search.paper and REPORTED in options.splits:
        results.lines.append(report(lab, results, REPORTED, results.search.paper.spec))
    if WIDE in options.splits:
        say("wide: geometries")
        placed = [specs[-1].replace(geometry=geometry) for geometry in GEOMETRIES]
        results.geometries = [report(lab, results, WIDE, spec) for spec in placed]
    if ABSENT in options.splits:
        say("absent: what tells present from absent")
        margin = lab.localizer.manifest.presence if results.margin is None else results.margin
        results.presence = presence.study(lab.sheets(ABSENT, specs[-1].geometry), maker(specs[-1], lab.logit_scale), margin)
    results.about["passes"] = lab.shelf.passes
    return results


def about(lab: Lab) -> dict[str, object]:
    """What was measured, on what."""
    truth = read_truth(lab.options.data)
    info = {key: value for key, value in lab.localizer.info.items() if key not in ("bundle", "opened_in_s")}
    return {
        **info,
        "logit_scale": round(lab.logit_scale, 4),
        "nouns": len(truth["nouns"]),
        "pictures_sha256": truth["sha256"],
        "templates": lab.options.templates,
        "limit": lab.options.limit,
    }


def report(lab: Lab, results: Results, split: str, spec: Spec) -> Line:
    """All figures of a split under a spec."""
    sheets = lab.sheets(split, spec.geometry)
    with clock(results, "figures"):
        return Line(split, spec, measure(sheets, maker(spec, lab.logit_scale), spec))


def choose(lab: Lab, results: Results, say: Say) -> None:
    """All that is chosen on `val`: the spec, the best setting of the published way; then wordings and variants."""
    say("val: search")
    base = lab.fitted(DEFAULT)
    sheets = lab.sheets(CHOICES, base.geometry)
    with clock(results, "search"):
        found = search(trials_of(lab, sheets), base)
    paper_trials = trials_of(lab, lab.sheets(CHOICES, PAPER.geometry))
    with clock(results, "search"):
        warm, curve = best_paper(paper_trials, lab.fitted(PAPER), lab.logit_scale)
        best = max(warm, key=lambda trial: trial.merit)
        spec = best.spec.replace(name="best paper")
        paper = replace(best, spec=spec)
    results.margin = presence.best_margin(sheets)
    results.search = replace(found, paper=paper, paper_thresholds=tuple(curve), paper_temperatures=tuple(warm))
    with clock(results, "search"):
        pixels = judge_pixels(sheets, maker(found.best.spec, lab.logit_scale), found.best.spec, THRESHOLDS)
        results.pixel_curve = dict(zip(THRESHOLDS, pixels.iou.mean(axis=0).tolist(), strict=True))
        results.wordings = wordings(lab, results.search)
    if lab.options.variants:
        say("val: variants")
        with clock(results, "variants"):
            results.variants = try_variants(lab, sheets, found.best.spec)


def trials_of(lab: Lab, sheets: list[Sheet]) -> Trials:
    """Trials of the method itself on sheets."""
    return Trials(lambda spec: judge(sheets, maker(spec, lab.logit_scale), spec, THRESHOLDS))


def wordings(lab: Lab, found: Search) -> list[Wording]:
    """The chosen spec, asked in other words."""
    spec, rows = found.best.spec, []
    own = trials_of(lab, lab.sheets(CHOICES, spec.geometry))
    for templates in dict.fromkeys((lab.options.templates, "plain", "paper", WORLD)):
        trials = trials_of(lab, lab.sheets(CHOICES, spec.geometry, templates))
        best = trials.best(spec)
        rows.append(Wording(templates, best, trials.lead(best.spec, spec, own)))
    return rows


def try_variants(lab: Lab, sheets: list[Sheet], spec: Spec) -> list[variants.Worth]:
    """Each variant tuned on `val`, and looked at once on `test`."""
    tuned = [variants.tune(name, sheets, spec, lab.logit_scale) for name in variants.VARIANTS]
    if REPORTED not in lab.options.splits:
        return tuned
    others = lab.sheets(REPORTED, spec.geometry)
    return [variants.confirm(worth, others, lab.logit_scale) for worth in tuned]


@contextmanager
def clock(results: Results, name: str) -> Iterator[None]:
    """Add the seconds spent to a step."""
    started = time.perf_counter()
    yield
    results.seconds[name] = results.seconds.get(name, 0.0) + time.perf_counter() - started
