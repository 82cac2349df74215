"""The numeric gate: a built bundle that disagrees with PyTorch by more than float32's own noise explains is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from engine.manifest import Manifest
from export.calibration import open_small
from export.comparison import FEW, Compared, compare, gate_pictures, largest, look_at, noise, read_prompts
from export.noise import Noise
from export.options import EIGHT_BITS, BuildOptions
from export.reference import Reference
from runtime import Localizer
from runtime.errors import VlscoreError

NOISE = 8  # times the float32 noise of one picture and a few passes: the worst of many, of two computations that both round
SILENT = Noise(scores=0.0, maps=0.0)
Report = Callable[[str], None]


class GateError(VlscoreError, RuntimeError):
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
    score_noise: float  # what float32 alone does to PyTorch's
    map_noise: float


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


# What is allowed where the model's float32 noise is small; a large network's maps and scores are noisier: see `NOISE`.
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


def comparisons(folder: Path, reference: Reference, options: BuildOptions, report: Report) -> Iterator[tuple[Parity, Tolerance]]:
    """Compare on one picture and few passes, then on all: whoever checks what comes first, by what is allowed, refuses early."""
    pictures = list(gate_pictures())
    # Any map above the base counts: boxes are compared whether or not the thing is there.
    spec = options.spec.replace(presence="any")
    report("comparing the texts with PyTorch")
    read = read_prompts(folder, reference, [prompt for _, prompt in pictures], spec)
    report("comparing the maps with PyTorch")
    seen = look_at(folder, reference, [picture for picture, _ in pictures], spec)
    report("measuring float32's own noise")
    noisy = noise(reference, seen[0], read[0])
    localizer = Localizer(open_small(folder), device="cpu", spec=spec)
    allowed = allowed_for(localizer.manifest, noisy)
    report("comparing a few passes with PyTorch")
    yield worst([compare(localizer, reference, seen[0], read[0], passes=FEW, rounding=allowed.score_error)], noisy), allowed
    found: list[Compared] = []
    for one, told in zip(seen, read, strict=True):
        report(f"comparing passes of picture {len(found) + 1} of {len(pictures)} with PyTorch")
        found.append(compare(localizer, reference, one, told, passes=options.compare, rounding=allowed.score_error))
    yield worst(found, noisy), allowed


def worst(found: list[Compared], noisy: Noise) -> Parity:
    """What was compared, as one."""
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
        score_noise=noisy.scores,
        map_noise=noisy.maps,
    )


def tolerance_for(precision: str, trained: bool, logit_scale: float = 1.0, noisy: Noise = SILENT) -> Tolerance:
    """What is still agreement for a bundle of this kind; the scores of eight bits are judged in units of 1 / logit scale.

    A random network amplifies rounding, and its saliency is almost flat, so that below float32 its boxes hang on noise: there
    they are reported, not judged.
    """
    allowed = TOLERANCES[precision]
    allowed = replace(allowed, map_error=max(allowed.map_error, NOISE * noisy.maps))
    if precision in EIGHT_BITS:
        allowed = replace(allowed, score_error=allowed.score_error / logit_scale)
        return allowed if trained else replace(allowed, score_error=2.0, masked_gap=1.0)
    if not trained and precision != "fp32":
        allowed = replace(allowed, score_error=2e-2, saliency_error=1.0, box_agreement=0.0)
    return widen(allowed, NOISE * noisy.scores)


def allowed_for(manifest: Manifest, noisy: Noise) -> Tolerance:
    """What is still agreement for a bundle whose model has this noise."""
    return tolerance_for(manifest.precision, manifest.weights.trained, manifest.logit_scale, noisy)


def widen(allowed: Tolerance, score_error: float) -> Tolerance:
    """Allow scores that much where it is more; the saliency follows the scores, and is allowed more in the same proportion."""
    if score_error <= allowed.score_error:
        return allowed
    saliency_error = min(1.0, allowed.saliency_error * score_error / allowed.score_error)
    return replace(allowed, score_error=score_error, saliency_error=saliency_error)


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


def figures(parity: Parity, allowed: Tolerance) -> dict[str, object]:
    """Parity as plain rounded numbers, for the manifest, with what scores and maps were allowed."""
    found = {**asdict(parity), "score_allowed": allowed.score_error, "map_allowed": allowed.map_error}
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in found.items()}
