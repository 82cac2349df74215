"""The switches of the method in one frozen value, with the published setting and our own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from engine.records import RecordError, check_fields, from_json, quoted, shown, to_json

Geometry = Literal["crop", "squash", "letterbox", "stretch"]
Align = Literal["corners", "centers"]
MaskOrder = Literal["upsample-first", "normalise-first"]
Base = Literal["mean", "black"]
ScoreSpace = Literal["cosine", "logit", "probability"]
Combine = Literal["raw", "masks"]
Edge = Literal["clamp", "mirror"]
Outlines = Literal["grid", "picture"]
Interpolation = Literal["nearest", "bilinear", "bicubic"]
Cut = Literal["peak", "mean", "value", "otsu"]
Find = Literal["parts", "contours", "rectangle"]
Keep = Literal["all", "largest"]
Connectivity = Literal[4, 8]
Order = Literal["raster", "score"]
Presence = Literal["any", "margin"]


LEAST_TEMPERATURE = 1e-6  # below, quotients of scores overflow float32


@dataclass(frozen=True, slots=True)
class Spec:
    """How a picture is placed, how its maps are weighed and how boxes are cut; every field is checked.

    `mask_align` and `mask_order` are baked into a bundle when it is built: at run time they only say what
    the bundle must have been built with.
    """

    name: str = "default"
    # How the picture is fitted to the model's square. `stretch` is the published way: crop, then spread the
    # saliency over the whole picture as if nothing had been cut off.
    geometry: Geometry = "squash"
    mask_align: Align = "corners"
    mask_order: MaskOrder = "upsample-first"
    base: Base = "mean"
    # The unit of scores and temperature: 1, or 1 / logit scale, so that one number serves every model; or, for methods that have
    # it, the probability of a question among all questions of a call.
    score_space: ScoreSpace = "logit"
    temperature: float = 1.0
    combine: Combine = "raw"
    # How much of the average map, the one every query would light up, is subtracted from the weighted one.
    contrast: float = 1.25
    # Whether the saliency keeps the vague outlines of its coarse grid or takes on those of the picture's colours.
    outline: Outlines = "picture"
    # What the final resize does beyond the outermost samples of the saliency.
    resize: Edge = "clamp"
    interpolation: Interpolation = "bilinear"
    # Grey morphology on the resized saliency before it is cut: first every pixel takes the highest value of a square around
    # it, then the lowest. The squares' sides are shares of the picture's shorter side; 0 is none.
    dilate: float = 0.0
    erode: float = 0.0
    # What the saliency is cut at: `threshold` times its maximum or its mean, `threshold` itself, or where Otsu's method says.
    cut: Cut = "peak"
    threshold: float = 0.3  # compared strictly
    # What becomes a box: connected parts, contours (8-connected, those of holes too), or the one rectangle that gathers most
    # above the cut.
    find: Find = "parts"
    keep: Keep = "all"
    connectivity: Connectivity = 4
    min_area: float = 1e-3  # fraction of the picture, compared strictly
    min_score: float = 0.7  # share of the best box's score; boxes below it are left out
    order: Order = "score"
    # When a query counts as present: when any map beats the base, or when the best one does by the margin that was
    # measured for the model (a model without such a measurement falls back to any).
    presence: Presence = "margin"

    def __post_init__(self) -> None:
        """Check every field; raises `ValueError` naming the field, its value and what is allowed."""
        check_fields(self)
        _require(bool(self.name.strip()), "name", self.name, "text that is not blank")
        _require(LEAST_TEMPERATURE <= self.temperature <= 1e6, "temperature", self.temperature, "from 1e-6 to 1e6")
        _require(0 <= self.contrast <= 1e6, "contrast", self.contrast, "from 0 to 1e6")
        _require(0 <= self.threshold < 1, "threshold", self.threshold, "at least 0 and below 1")
        _require(0 <= self.dilate < 1, "dilate", self.dilate, "at least 0 and below 1")
        _require(0 <= self.erode < 1, "erode", self.erode, "at least 0 and below 1")
        _require(0 <= self.min_area < 1, "min_area", self.min_area, "at least 0 and below 1")
        _require(0 <= self.min_score <= 1, "min_score", self.min_score, "from 0 to 1")

    def tau(self, logit_scale: float) -> float:
        """Give the temperature in units of the plain cosine; `logit_scale` is the model's own, about 100."""
        _require(logit_scale > 0, "logit_scale", logit_scale, "above 0")
        return self.temperature / logit_scale if self.score_space == "logit" else self.temperature

    def replace(self, **changes: object) -> Spec:
        """Copy the spec with some fields changed; raises `ValueError` on an unknown field or a bad value."""
        return Spec.from_dict({**self.to_dict(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as plain values that JSON can write."""
        return to_json(self)

    @classmethod
    def from_dict(cls, data: object) -> Spec:
        """Read what `to_dict` wrote; a field left out takes its default, an unknown one is refused."""
        return from_json(cls, data, "spec")


def named_spec(name: str) -> Spec:
    """Give the named spec; raises `ValueError` with the choices when there is none."""
    if name not in SPECS:
        raise ValueError(f"`spec` must be one of {quoted(SPECS)}, found {shown(name)}")
    return SPECS[name]


def _require(holds: bool, field: str, value: object, allowed: str) -> None:
    if not holds:
        raise RecordError(f"`{field}` must be {allowed}, found {shown(value)}")


DEFAULT = Spec()

# The published algorithm, switch by switch; used for parity with it.
PAPER = Spec(
    name="paper",
    geometry="stretch",
    mask_align="corners",
    mask_order="upsample-first",
    base="mean",
    score_space="cosine",
    temperature=1.0,
    combine="raw",
    contrast=0.0,
    outline="grid",
    resize="mirror",
    threshold=0.6,
    connectivity=4,
    min_area=1e-3,
    min_score=0.0,
    order="raster",
    presence="any",
)

SpecName = Literal["default", "paper"]
SPECS = {spec.name: spec for spec in (DEFAULT, PAPER)}
