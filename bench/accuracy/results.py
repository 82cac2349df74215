"""Everything that one run found, and its form as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.accuracy.figures import Figures
from bench.accuracy.presence import Presence
from bench.accuracy.statistics import Estimate
from bench.accuracy.sweep import Row, Search
from bench.accuracy.trials import Trial
from bench.accuracy.variants import Worth
from engine.spec import Spec


@dataclass(frozen=True, slots=True)
class Line:
    """The figures of one split under one spec."""

    split: str
    spec: Spec
    figures: Figures


@dataclass(frozen=True, slots=True)
class Wording:
    """What a set of templates finds, and its gain over the one that was asked for."""

    templates: str
    trial: Trial
    lead: Estimate


@dataclass(slots=True)
class Results:
    """Filled in as the run goes on; what was not asked for stays empty."""

    about: dict[str, Any]
    lines: list[Line] = field(default_factory=list)
    search: Search | None = None
    pixel_curve: dict[float, float] = field(default_factory=dict)  # mIoU by threshold
    geometries: list[Line] = field(default_factory=list)
    wordings: list[Wording] = field(default_factory=list)
    variants: list[Worth] = field(default_factory=list)
    margin: float | None = None  # over the base; chosen on `val`
    presence: Presence | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: shares from 0 to 1, each as [value, low, high] where it has an interval."""
        return {
            "about": self.about,
            "splits": [line_dict(line) for line in self.lines],
            "search": search_dict(self.search) if self.search else None,
            "pixel_miou_by_threshold": {str(threshold): round(value, 5) for threshold, value in self.pixel_curve.items()},
            "geometries": [line_dict(line) for line in self.geometries],
            "wordings": [
                {"templates": one.templates, **trial_dict(one.trial), "lead": one.lead.to_list()} for one in self.wordings
            ],
            "variants": [worth_dict(worth) for worth in self.variants],
            "margin": self.margin,
            "presence": self.presence.to_dict() if self.presence else None,
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
        }


def line_dict(line: Line) -> dict[str, Any]:
    """One split under one spec."""
    return {"split": line.split, "spec": line.spec.to_dict(), **line.figures.to_dict()}


def trial_dict(trial: Trial) -> dict[str, Any]:
    """A spec's merit, with the settings that sweeps change."""
    merit, spec = trial.merit, trial.spec
    return {
        "temperature": spec.temperature,
        "threshold": spec.threshold,
        "gt_known": round(merit.gt_known, 5),
        "first_box": round(merit.first_box, 5),
        "box_iou": round(merit.box_iou, 5),
    }


def search_dict(search: Search) -> dict[str, Any]:
    """The chosen spec, the table behind it, and the curves."""
    found: dict[str, Any] = {
        "chosen": search.best.spec.to_dict(),
        **trial_dict(search.best),
        "switches": [row_dict(row) for row in search.rows],
        "thresholds": [trial_dict(trial) for trial in search.thresholds],
        "temperatures": [trial_dict(trial) for trial in search.temperatures],
    }
    if search.paper is not None:
        found["paper"] = {
            "chosen": search.paper.spec.to_dict(),
            **trial_dict(search.paper),
            "thresholds": [trial_dict(trial) for trial in search.paper_thresholds],
            "temperatures": [trial_dict(trial) for trial in search.paper_temperatures],
        }
    return found


def row_dict(row: Row) -> dict[str, Any]:
    """One value of one switch."""
    return {
        "switch": row.switch,
        "value": row.value,
        "chosen": row.chosen,
        **trial_dict(row.trial),
        "lead": row.lead.to_list(),
    }


def worth_dict(worth: Worth) -> dict[str, Any]:
    """A variant at its best."""
    return {
        "variant": worth.name,
        "strength": worth.strength,
        "contrast": worth.trial.spec.contrast,
        **trial_dict(worth.trial),
        "test_gt_known": worth.test.to_list() if worth.test else None,
    }
