"""Writes the answers of a float32 bundle on the processor, which those of a card are held against."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.gpu.answers import live_maps, scores_of
from bench.gpu.plan import KNOWING
from bench.world.read import PICTURES as SCENES
from bench.world.read import scenes_of
from export.calibration import open_small
from export.comparison import PROMPTS
from export.options import PICTURES
from runtime import Localizer

COUNT = 4  # pictures
SAMPLE = 64  # maps of a large model, whose every pass costs a processor long


def write_reference(bundle: Path, target: Path, backbone: str) -> None:
    """Ask pictures and write what was found beside copies of them; a folder that is complete is left as it is."""
    if (target / "answers.npz").is_file():
        return
    target.mkdir(parents=True, exist_ok=True)
    localizer, whole = Localizer(open_small(bundle), device="cpu"), backbone == KNOWING
    found: dict[str, NDArray[Any]] = {}
    questions = []
    for number, (path, words) in enumerate(pictures(backbone)):
        picture = target / path.name
        picture.write_bytes(path.read_bytes())
        questions.append((path.name, words))
        live = live_maps(localizer, picture)
        which = live if whole else live[np.unique(np.linspace(0, len(live) - 1, SAMPLE).astype(int))]
        found[f"which{number}"] = which
        found[f"scores{number}"] = scores_of(localizer, picture, words, which)
        if whole:
            found[f"xyxy{number}"] = localizer(picture, words).xyxy
    with (target / "answers.tmp").open("wb") as file:
        np.savez(file, questions=np.array(json.dumps(questions)), **found)  # type: ignore[arg-type]
    (target / "answers.tmp").replace(target / "answers.npz")


def pictures(backbone: str) -> Iterator[tuple[Path, str]]:
    """Pictures and words that the model may know: emoji scenes, or photographs."""
    if backbone == KNOWING:
        for entry in scenes_of(SCENES, ["test"])[:COUNT]:
            yield SCENES / entry["file"], f"a {entry['things'][0]['noun']}"
    else:
        for path in sorted(PICTURES.glob("*.jpg"))[:COUNT]:
            yield path, PROMPTS[path.stem]
