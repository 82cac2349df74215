"""Comparing a bundle, run as users will run it, with PyTorch on real pictures, stage by stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.metrics import box_agreement
from engine.outline import follow
from engine.saliency import normalise
from engine.spec import Spec
from export.noise import Noise, measure, relative
from export.options import PICTURES
from export.reference import Floats, Reference
from runtime import Localization, Localizer, Query, Scene
from runtime.localization import cut_boxes
from runtime.pictures import read_picture
from runtime.text import ends

FEW = 4  # passes of the first look, and of the measure of noise
PROMPTS = {"cat": "a cat", "coffee": "a cup of coffee", "astronaut": "an astronaut", "rocket": "a rocket"}


@dataclass(frozen=True)
class Compared:
    """One picture, both ways."""

    map_error: float
    image_cosine: float
    masked_cosine: float
    text_cosine: float
    score_error: float
    flips: int
    beyond: int
    saliency_error: float
    agreement: float
    passes: int


@dataclass(frozen=True)
class Read:
    """A prompt, both ways: its embeddings `(D,)`, and the lowest cosine of any text graph that can read it."""

    prompt: str
    ours: Floats
    wanted: Floats
    cosine: float


def read_prompts(folder: Path, reference: Reference, prompts: Iterable[str], spec: Spec) -> list[Read]:
    """Read the prompts with every text graph; a large model's text graphs are let go before its image graphs are opened."""
    localizer = Localizer(folder, device="cpu", spec=spec)
    found = []
    for prompt in prompts:
        wanted = reference.texts([prompt])[0]
        cosine = min(lowest_cosine(wanted[np.newaxis], read) for read in every_reading(localizer, prompt))
        found.append(Read(prompt, localizer.text.embed([Query((prompt,))])[0], wanted, cosine))
    return found


@dataclass(frozen=True)
class Seen:
    """A picture without any pass, both ways."""

    scene: Scene
    pixels: NDArray[np.uint8]  # (R, R, 3), as the model sees it
    wanted: Floats  # its embedding (D,)
    map_error: float

    @property
    def blank(self) -> Floats:
        """The map `(1, h, w)` that masks everything."""
        return np.zeros((1, *self.scene.maps.shape[1:]), dtype=np.float32)

    def sample(self, count: int) -> list[int]:
        """Some of the maps that can be run."""
        return spread(np.flatnonzero(self.scene.live).tolist(), count)


def look_at(folder: Path, reference: Reference, pictures: Iterable[NDArray[np.uint8]], spec: Spec) -> list[Seen]:
    """Look at the pictures; the image graph of a large model is let go before its masked graph is opened."""
    encoder = Localizer(folder, device="cpu", spec=spec).encoder
    found = []
    for picture in pictures:
        scene, pixels = encoder.look(picture)
        wanted, embedding = reference.picture(pixels)
        found.append(Seen(scene, pixels, embedding, relative(encoder.run_checked("image", pixels)["maps"], wanted)))
    return found


def noise(reference: Reference, seen: Seen, read: Read) -> Noise:
    """What float32 alone does to the maps and scores of a picture: PyTorch against itself in float64, on a few passes."""
    masks = np.concatenate([seen.blank, seen.scene.maps[seen.sample(FEW)]])
    return measure(reference, seen.pixels, masks, np.stack([read.wanted, seen.wanted]))


def compare(localizer: Localizer, reference: Reference, seen: Seen, read: Read, *, passes: int, rounding: float) -> Compared:
    """Compare one picture, stage by stage, on a sample of its maps (the others stay at the base).

    Two questions are asked: the prompt, and the picture's own embedding, which some map nearly always speaks for.
    """
    sample = seen.sample(passes)
    scene = localizer.encoder.encode_some(seen.scene, seen.pixels, sample)
    masked = reference.masked(seen.pixels, np.concatenate([seen.blank, scene.maps[sample]]))
    texts = np.stack([read.ours, scene.embedding])
    ours = np.stack([scores for scores, _ in localizer.answerer.scores_and_maps(scene, texts)])[:, sample]
    wanted = np.stack([read.wanted, seen.wanted]) @ (masked[1:] - masked[:1]).T
    queries = [Query((read.prompt,))] * len(texts)
    answers = localizer.answerer.answer(scene, queries, texts)
    answered = [
        compare_answer(answer, reference, scene, sample, row, localizer) for answer, row in zip(answers, wanted, strict=True)
    ]
    flipped = (ours > 0) != (wanted > 0)
    return Compared(
        map_error=seen.map_error,
        image_cosine=float(seen.wanted @ scene.embedding),
        masked_cosine=lowest_cosine(masked[1:], scene.embeddings[sample]),
        text_cosine=read.cosine,
        score_error=float(np.abs(ours - wanted).max(initial=0)),
        flips=int(flipped.sum()),
        beyond=int((flipped & (np.abs(wanted) > rounding)).sum()),
        saliency_error=largest(error for error, _ in answered),
        agreement=-largest(-agreement for _, agreement in answered),
        passes=len(sample),
    )


def every_reading(localizer: Localizer, prompt: str) -> Iterator[Floats]:
    """A prompt's embedding `(1, D)` by each text graph that can read it."""
    tokens = localizer.text.tokens([prompt])
    length = int(ends(tokens)[0])
    return (graph.embed(tokens) for graph in localizer.text.graphs if length <= graph.tokens)


def compare_answer(
    answer: Localization, reference: Reference, scene: Scene, sample: list[int], sampled: Floats, localizer: Localizer
) -> tuple[float, float]:
    """The largest difference of the saliency, and the agreement of the boxes, for the reference's scores of a sample."""
    scores = np.full(len(scene.maps), -1.0, dtype=np.float32)
    scores[sample] = sampled
    outline = scene.outline_for(localizer.spec)
    wanted = follow(normalise(reference.saliency(scene.maps, scores, localizer.manifest.logit_scale)), outline)
    boxes, _ = cut_boxes(wanted, scene.frame, localizer.spec)
    return float(np.abs(wanted - answer.map).max()), box_agreement(boxes.xyxy, answer.xyxy)


def gate_pictures() -> Iterator[tuple[NDArray[np.uint8], str]]:
    """The pictures that every build is tried on, each with a fitting prompt."""
    for path in sorted(PICTURES.glob("*.jpg")):
        yield read_picture(path), PROMPTS.get(path.stem, f"a {path.stem}")


def largest(values: Iterable[float]) -> float:
    """The largest of some numbers, or NaN if one is: Python's own `max` would pass over it."""
    return float(np.max(list(values)))


def spread(indices: list[int], count: int) -> list[int]:
    """At most `count` of these, evenly spread."""
    if len(indices) <= count:
        return indices
    return [indices[int(at)] for at in np.linspace(0, len(indices) - 1, count)]


def lowest_cosine(a: Floats, b: Floats) -> float:
    """The lowest cosine between rows of unit length."""
    return float((a * b).sum(axis=1).min(initial=1.0))
