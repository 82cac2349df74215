"""What is measured: bundles, and groups of measurements on them, each small enough to be repeated when it was cut off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

KNOWING = "demo-rn"  # a model that knows something: precisions are judged on it
PRECISIONS = ("fp16", "int8-symmetric", "fp32")  # in the order of their use
BATCH = {"cuda": 256, "tensorrt": 256, "cpu": 32}


@dataclass(frozen=True)
class Group:
    """One bundle, opened in one way: how far its scores are off, and how long it takes."""

    backbone: str
    precision: str
    device: str
    options: dict[str, Any] = field(default_factory=dict)  # further ones of `Localizer`

    @property
    def bundle(self) -> str:
        """The folder of its bundle."""
        return f"{self.backbone}-{self.precision}"

    @property
    def name(self) -> str:
        """What it is called in the record."""
        return " ".join([self.bundle, self.device, *(f"{key}={value}" for key, value in self.options.items())])


def groups(backbone: str, devices: tuple[str, ...]) -> Iterator[Group]:
    """All groups: first whether each precision is right on each device, then how fast the backbone is."""
    for device in devices:
        for precision in PRECISIONS:
            yield Group(KNOWING, precision, device)
    for device in devices:
        yield Group(backbone, "fp16", device, {"preset": "exact"})
        yield Group(backbone, "fp16", device, {"preset": "fast"})
        yield Group(backbone, "fp16", device, {"preset": "instant"})
        if device == "cuda":
            yield Group(backbone, "fp16", device, {"device_options": {"fuse_conv_bias": True}})
        else:  # ONNX Runtime on a card takes every step to eight bits and back by itself, which is no gain
            yield Group(backbone, "int8-symmetric", device, {"preset": "exact"})
        yield Group(backbone, "fp32", device, {"preset": "exact"})
        if device != "cpu":
            yield Group(backbone, "fp32", device, {"precision": "tf32"})
