"""Scores and boxes of a bundle on the pictures of a reference, and how far they are off."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.agreement import disagreement, spread
from engine.metrics import box_agreement
from runtime import Localizer, Query
from runtime.pictures import read_picture

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Question:
    """A picture, words, and the answer of float32: scores of some maps, and boxes where all maps were run."""

    picture: Path
    words: str
    which: NDArray[np.int64]
    scores: Floats
    xyxy: Floats | None


def read_reference(folder: Path) -> list[Question]:
    """The questions of a reference."""
    with np.load(folder / "answers.npz") as stored:
        return [
            Question(
                folder / name,
                words,
                stored[f"which{at}"],
                stored[f"scores{at}"],
                stored.get(f"xyxy{at}"),
            )
            for at, (name, words) in enumerate(json.loads(str(stored["questions"])))
        ]


def live_maps(localizer: Localizer, picture: Path) -> NDArray[np.int64]:
    """The maps of a picture that are worth a pass."""
    return np.flatnonzero(localizer.encoder.look(read_picture(picture))[0].live)


def scores_of(localizer: Localizer, picture: Path, words: str, which: NDArray[np.int64]) -> Floats:
    """Scores of some maps, relative to the base."""
    scene = localizer.encoder.encode_maps(read_picture(picture), which.tolist())
    text = localizer.text.embed([Query((words,))])[0]
    return np.asarray((scene.embeddings[which] - scene.base) @ text, dtype=np.float32)


def compare(localizer: Localizer, questions: list[Question], precision: str, *, trained: bool) -> dict[str, Any]:
    """How far a bundle's scores and boxes are from float32's, and why that is more than its precision explains, if it is."""
    wanted = np.concatenate([each.scores for each in questions])
    found = np.concatenate([scores_of(localizer, each.picture, each.words, each.which) for each in questions])
    off, size = found.astype(np.float64) - wanted, spread(wanted)
    relative, largest, spreads = float(np.sqrt(np.mean(off**2))) / size, float(np.abs(off).max()), spread(found) / size
    boxes = [box_agreement(localizer(each.picture, each.words).xyxy, each.xyxy) for each in questions if each.xyxy is not None]
    return {
        "scores": len(found),
        "relative_error": relative,
        "largest_error": largest,
        "spread": spreads,
        "flips": int(((found > 0) != (wanted > 0)).sum()),
        "box_agreement": float(np.mean(boxes)) if boxes else None,
        "fault": disagreement(precision, relative, largest, spreads, trained=trained),
    }
