"""The numeric gate: a built bundle, run as users will run it, against PyTorch on real pictures. It passes or is gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.boxes import find_boxes
from engine.metrics import box_agreement
from engine.outline import follow
from engine.saliency import normalise, to_picture
from engine.spec import Spec
from export.calibration import open_small
from export.options import EIGHT_BITS, PICTURES
from export.reference import Floats, Reference
from runtime import Localization, Localizer, Query, Scene
from runtime.pictures import read_picture
from runtime.text import ends

SAMPLE = 32  # masked passes per picture that PyTorch repeats; it is slow, which is why this project exists
PROMPTS = {"cat": "a cat", "coffee": "a cup of coffee", "astronaut": "an astronaut", "rocket": "a rocket"}


class GateError(RuntimeError):
    """A bundle disagrees with PyTorch by more than its precision explains."""


@dataclass(frozen=True)
class Parity:
    """How far a bundle is from PyTorch: the worst over the pictures. Flips are maps above the base on one side only."""

    pictures: int
    passes: int
    map_error: float  # largest difference, relative to the largest value
    image_cosine: float
    masked_cosine: float
    text_cosine: float
    score_error: float  # of cosine minus the base's cosine
    flips: int
    flips_beyond_rounding: int  # of maps whose score is farther from the base than the tolerance
    saliency_error: float  # of the map in [0, 1]
    box_agreement: float


@dataclass(frozen=True)
class Tolerance:
    """What is still agreement. The masked passes may be of a lower precision than the rest, and have a gap of their own."""

    map_error: float
    cosine_gap: float
    score_error: float
    saliency_error: float
    box_agreement: float
    masked_gap: float | None = None

    def gap(self, name: str) -> float:
        """How far below 1 a cosine may be."""
        return self.masked_gap if name == "masked_cosine" and self.masked_gap is not None else self.cosine_gap


TOLERANCES = {
    "fp32": Tolerance(map_error=1e-3, cosine_gap=1e-5, score_error=1e-5, saliency_error=1e-3, box_agreement=0.99),
    # Scores that may move by a third of the temperature move the weights, and with them single cells, by a tenth or more; what
    # is asked for shows in the boxes.
    "fp16": Tolerance(map_error=1e-1, cosine_gap=1e-3, score_error=5e-3, saliency_error=1.5e-1, box_agreement=0.90),
    # The maps are exact. Which of them matter for a thing that is not in the picture hangs on less than eight bits tell: with
    # a sample of maps, saliency and boxes are reported, not judged.
    "int8": Tolerance(map_error=1e-3, cosine_gap=1e-5, score_error=1.25, saliency_error=1.0, box_agreement=0.0, masked_gap=1e-2),
    # What is never negative has half the levels here, and twice the error.
    "int8-symmetric": Tolerance(
        map_error=1e-3, cosine_gap=1e-5, score_error=2.5, saliency_error=1.0, box_agreement=0.0, masked_gap=1e-2
    ),
}


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


def measure(folder: Path, reference: Reference, spec: Spec, allowed: Tolerance) -> Parity:
    """Run a bundle with the real runtime on a sample of passes per picture and compare every stage."""
    # Any map above the base counts: boxes are compared whether or not the thing is there.
    localizer = Localizer(open_small(folder), device="cpu", spec=spec.replace(presence="any"))
    found = [compare(localizer, reference, picture, prompt, allowed.score_error) for picture, prompt in gate_pictures()]
    return Parity(
        pictures=len(found),
        passes=sum(one.passes for one in found),
        map_error=largest(one.map_error for one in found),
        image_cosine=-largest(-one.image_cosine for one in found),
        masked_cosine=-largest(-one.masked_cosine for one in found),
        text_cosine=-largest(-one.text_cosine for one in found),
        score_error=largest(one.score_error for one in found),
        flips=sum(one.flips for one in found),
        flips_beyond_rounding=sum(one.beyond for one in found),
        saliency_error=largest(one.saliency_error for one in found),
        box_agreement=-largest(-one.agreement for one in found),
    )


def compare(localizer: Localizer, reference: Reference, picture: NDArray[np.uint8], prompt: str, tolerance: float) -> Compared:
    """Compare one picture, stage by stage, on a sample of its maps (the others stay at the base).

    Two questions are asked: the prompt, and the picture's own embedding, which some map nearly always speaks for.
    """
    encoder = localizer.encoder
    seen, pixels = encoder.look(picture)
    sample = spread(np.flatnonzero(seen.live).tolist(), SAMPLE)
    scene = encoder.encode_maps(picture, sample)
    raw, image = reference.picture(pixels)
    ours_raw = encoder.run_checked("image", pixels)["maps"]
    blank = np.zeros((1, *scene.maps.shape[1:]), dtype=np.float32)
    masked = reference.masked(pixels, np.concatenate([blank, scene.maps[sample]]))
    query = Query((prompt,))
    text, wanted_text = localizer.text.embed([query])[0], reference.texts([prompt])[0]
    texts = np.stack([text, scene.embedding])
    ours = np.stack([scores for scores, _ in localizer.answerer.scores_and_maps(scene, texts)])[:, sample]
    wanted = np.stack([wanted_text, image]) @ (masked[1:] - masked[:1]).T
    answers = localizer.answerer.answer(scene, [query, query], texts)
    answered = [
        compare_answer(answer, reference, scene, sample, row, localizer) for answer, row in zip(answers, wanted, strict=True)
    ]
    flipped = (ours > 0) != (wanted > 0)
    return Compared(
        map_error=float(np.abs(raw - ours_raw).max() / max(float(np.abs(raw).max()), 1e-12)),
        image_cosine=float(image @ scene.embedding),
        masked_cosine=lowest_cosine(masked[1:], scene.embeddings[sample]),
        text_cosine=min(lowest_cosine(wanted_text[np.newaxis], read) for read in every_reading(localizer, prompt)),
        score_error=float(np.abs(ours - wanted).max(initial=0)),
        flips=int(flipped.sum()),
        beyond=int((flipped & (np.abs(wanted) > tolerance)).sum()),
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
    outline = localizer.answerer.outline_of(scene)
    wanted = follow(normalise(reference.saliency(scene.maps, scores, localizer.manifest.logit_scale)), outline)
    boxes = find_boxes(to_picture(wanted, scene.frame, localizer.spec.resize, localizer.spec.interpolation), localizer.spec)
    return float(np.abs(wanted - answer.map).max()), box_agreement(boxes.xyxy, answer.xyxy)


def tolerance_for(precision: str, trained: bool, logit_scale: float = 1.0) -> Tolerance:
    """What is still agreement for a bundle of this kind; the scores of eight bits are judged in units of 1 / logit scale.

    A random network amplifies rounding, and its saliency is almost flat, so that below float32 its boxes hang on noise: there
    they are reported, not judged.
    """
    allowed = TOLERANCES[precision]
    if precision in EIGHT_BITS:
        allowed = replace(allowed, score_error=allowed.score_error / logit_scale)
        return allowed if trained else replace(allowed, score_error=2.0, masked_gap=1.0)
    if trained or precision == "fp32":
        return allowed
    return replace(allowed, score_error=2e-2, saliency_error=1.0, box_agreement=0.0)


def check(parity: Parity, precision: str, allowed: Tolerance) -> None:
    """Raise GateError naming every figure that is off, or return."""
    wrong = [
        f"{name} is {value:.3g}, allowed {sign} {limit:.3g}"
        for name, value, sign, limit, holds in [
            ("map_error", parity.map_error, "<=", allowed.map_error, parity.map_error <= allowed.map_error),
            *(cosine_rule(name, getattr(parity, name), allowed) for name in ("image_cosine", "masked_cosine", "text_cosine")),
            ("score_error", parity.score_error, "<=", allowed.score_error, parity.score_error <= allowed.score_error),
            (
                "saliency_error",
                parity.saliency_error,
                "<=",
                allowed.saliency_error,
                parity.saliency_error <= allowed.saliency_error,
            ),
            ("flips_beyond_rounding", parity.flips_beyond_rounding, "<=", 0, parity.flips_beyond_rounding == 0),
            ("box_agreement", parity.box_agreement, ">=", allowed.box_agreement, parity.box_agreement >= allowed.box_agreement),
        ]
        if not holds
    ]
    if wrong:
        raise GateError(f"the {precision} bundle disagrees with PyTorch and was not kept: " + "; ".join(wrong))


def cosine_rule(name: str, value: float, allowed: Tolerance) -> tuple[str, float, str, float, bool]:
    """The check of one cosine."""
    return name, value, ">=", 1 - allowed.gap(name), value >= 1 - allowed.gap(name)


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


def figures(parity: Parity) -> dict[str, object]:
    """Parity as plain rounded numbers, for the manifest."""
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in asdict(parity).items()}
