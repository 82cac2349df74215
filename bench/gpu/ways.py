"""The ways that take turns on a card, in groups: only those of one group hold its memory at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from bench.compare.ways import EVERY, FEW, Way

OURS, TORCH = "bench.gpu.ours:OnDevice", "bench.gpu.torch_ways:TorchOnDevice"
HERE = "{device}"  # stands for the device asked for


@dataclass(frozen=True)
class Group:
    """Ways that are compared with each other, and their share of the whole budget."""

    name: str
    title: str
    share: float
    ways: tuple[Way, ...]


def ours(name: str, title: str, precision: str, options: dict[str, str], computes: str = EVERY) -> Way:
    """A way of our own: options of `Localizer`, and `bundle`, the precision of the bundle."""
    return Way(name, title, computes, OURS, precision, ours=True, options=options)


def torch(name: str, title: str, precision: str, **options: Any) -> Way:  # noqa: ANN401 - read by the class it is for
    """A way in PyTorch."""
    return Way(name, title, EVERY, TORCH, precision, options={"device": HERE, **options})


CUDA, PLAN = {"device": HERE}, {"device": "tensorrt"}
CUDA16, PLAN16 = {**CUDA, "bundle": "fp16"}, {**PLAN, "bundle": "fp16"}
HALF = {"half": True, "channels_last": True}
GROUPS = (
    Group(
        "half",
        "half precision, every map",
        0.26,
        (
            ours("exact-cuda-fp16", "vlscore `exact`, CUDA, fp16", "fp16", CUDA16),
            ours("exact-tensorrt-fp16", "vlscore `exact`, TensorRT, fp16", "fp16", PLAN16),
            torch("torch-fp16", "PyTorch, channels last, fp16", "fp16", **HALF),
            torch("compile-fp16", "torch.compile, channels last, fp16", "fp16", **HALF, compiled=True),
            torch("graph-fp16", "PyTorch, channels last, fp16, CUDA graph", "fp16", **HALF, graph=True),
        ),
    ),
    Group(
        "single",
        "single precision, every map",
        0.12,
        (
            ours("exact-cuda-fp32", "vlscore `exact`, CUDA, fp32", "fp32", {**CUDA, "precision": "fp32"}),
            ours("exact-cuda-tf32", "vlscore `exact`, CUDA, TF32", "tf32", {**CUDA, "precision": "tf32"}),
            ours("exact-tensorrt-fp32", "vlscore `exact`, TensorRT, fp32", "fp32", {**PLAN, "precision": "fp32"}),
            ours("exact-tensorrt-tf32", "vlscore `exact`, TensorRT, TF32", "tf32", {**PLAN, "precision": "tf32"}),
            torch("torch", "PyTorch, eager, as it comes (TF32 convolutions)", "tf32"),
        ),
    ),
    Group(
        "few",
        "fewer passes, and eight bits",
        0.14,
        (
            ours("fast-cuda-fp16", "vlscore `fast`, CUDA, fp16", "fp16", {**CUDA16, "preset": "fast"}, FEW),
            ours("fast-tensorrt-fp16", "vlscore `fast`, TensorRT, fp16", "fp16", {**PLAN16, "preset": "fast"}, FEW),
            ours("instant-cuda-fp16", "vlscore `instant`, CUDA, fp16", "fp16", {**CUDA16, "preset": "instant"}, "one pass"),
            ours("int8-tensorrt", "vlscore `exact`, TensorRT, int8", "int8", {**PLAN, "bundle": "int8-symmetric"}),
        ),
    ),
)
NAMES = tuple(way.name for group in GROUPS for way in group.ways)


def chosen(names: Sequence[str], device: str) -> list[Group]:
    """The groups with the ways of these names (none: all), for a device such as `cuda:1`, its number for TensorRT too."""
    number = device.partition(":")[2]

    def placed(way: Way) -> Way:
        asked = way.options["device"]
        there = device if asked == HERE else f"{asked}:{number}" if number else asked
        title = way.title.replace("CUDA,", "CPU,") if there == "cpu" else way.title
        return replace(way, title=title, options={**way.options, "device": there})

    groups = [
        Group(group.name, group.title, group.share, tuple(placed(way) for way in group.ways if not names or way.name in names))
        for group in GROUPS
    ]
    return [group for group in groups if group.ways]
