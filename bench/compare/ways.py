"""The ways that are compared: each a name, what it computes, and where its code is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from bench.compare.job import Agreement, Job, Prepared, Reference

# How far a way's scores may be from the oracle's, by the precision it computes in: relative to their own size, or, where
# that cannot be resolved, in cosines. Scores are small differences of cosines; under random weights all masked copies
# look alike, and what is left of a difference is below bf16's own grain. The table shows it; it is no fault of the way.
TOLERANCE = {"fp32": (0.01, 0.0), "tf32": (0.1, 0.003), "fp16": (0.1, 0.003), "bf16": (0.3, 0.03), "int8": (0.5, 0.05)}


@dataclass(frozen=True)
class Way:
    """One row of the table. `place` is `module:class`, imported by the way's own process alone."""

    name: str
    title: str
    computes: str
    place: str
    precision: str = "fp32"
    ours: bool = False
    options: dict[str, Any] = field(default_factory=dict)

    def prepare(self, job: Job, reference: Reference) -> Prepared:
        """Load whatever the way needs, outside the clock."""
        module, _, name = self.place.partition(":")
        prepared: Prepared = getattr(import_module(module), name)(job, reference, **self.options)
        return prepared

    def accepts(self, agreement: Agreement) -> bool:
        """Say whether scores this far from the oracle's are what the way's precision can do."""
        relative, absolute = TOLERANCE[self.precision]
        return agreement.deviation <= relative or agreement.error <= absolute


Maker = Any  # imported by name: its module needs PyTorch

EVERY, SOME, NONE = "every map", "300 maps chosen by gradient", "one pass and its gradient"
FEW = "some maps, chosen without words or gradient"
TORCH, PACKAGES, GRADIENTS, OURS = (f"bench.compare.{name}" for name in ("torch_ways", "packages", "gradients", "ours"))
LAST, BF16 = {"channels_last": True}, {"channels_last": True, "bf16": True}


def ours(name: str, title: str, precision: str, options: dict[str, str], computes: str = EVERY) -> Way:
    """A way of our own: options of `Localizer`, and `bundle`, the precision of the bundle."""
    return Way(name, title, computes, f"{OURS}:Ours", precision, ours=True, options=options)


CPU, VINO = {"device": "cpu"}, {"device": "openvino"}
WAYS = (
    Way("published", "the published way: PyTorch, eager", EVERY, f"{TORCH}:Published"),
    Way("torch", "PyTorch, eager, channels last", EVERY, f"{TORCH}:Torch", options=LAST),
    Way("torch-bf16", "PyTorch, eager, channels last, bf16 autocast", EVERY, f"{TORCH}:Torch", "bf16", options=BF16),
    Way("compile", "torch.compile, channels last", EVERY, f"{TORCH}:Torch", options={**LAST, "compiled": True}),
    Way("compile-bf16", "torch.compile, bf16 autocast", EVERY, f"{TORCH}:Torch", "bf16", options={**BF16, "compiled": True}),
    Way("grad-cam", "grad-cam's ScoreCAM", EVERY, f"{PACKAGES}:GradCamPackage"),
    Way("torchcam", "torchcam's ScoreCAM", EVERY, f"{PACKAGES}:TorchCamPackage"),
    Way("gscorecam", "gScoreCAM's choice, PyTorch, channels last", SOME, f"{GRADIENTS}:GScoreCam"),
    Way("gradcam-one", "Grad-CAM, PyTorch", NONE, f"{GRADIENTS}:GradCam"),
    ours("exact", "vlscore `exact`, ONNX Runtime", "fp32", CPU),
    ours("exact-openvino", "vlscore `exact`, OpenVINO", "fp32", {**VINO, "precision": "fp32"}),
    ours("exact-bf16", "vlscore `exact`, OpenVINO bf16", "bf16", {**VINO, "precision": "bf16"}),
    ours("int8", "vlscore `exact`, int8 bundle, ONNX Runtime", "int8", {**CPU, "bundle": "int8"}),
    ours("int8-openvino", "vlscore `exact`, int8 bundle, OpenVINO", "int8", {**VINO, "bundle": "int8"}),
    ours("fast", "vlscore `fast`, ONNX Runtime", "fp32", {**CPU, "preset": "fast"}, FEW),
    ours("fast-bf16", "vlscore `fast`, OpenVINO bf16", "bf16", {**VINO, "precision": "bf16", "preset": "fast"}, FEW),
    ours("instant", "vlscore `instant`, ONNX Runtime", "fp32", {**CPU, "preset": "instant"}, "one pass"),
)
BY_NAME = {way.name: way for way in WAYS}


def chosen(names: Sequence[str]) -> list[Way]:
    """The ways of these names, in the table's order; raises `ValueError` naming an unknown one."""
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        raise ValueError(f"way `{unknown[0]}` is unknown: choose from {', '.join(BY_NAME)}")
    return [way for way in WAYS if way.name in names] if names else list(WAYS)


def make_oracle(job: Job) -> Maker:
    """The oracle, which makes the reference; imported by its own process alone."""
    return import_module(TORCH).Oracle(job)
