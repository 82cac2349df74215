"""What is compared: each contender a name, what it computes, and where its code is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import groupby
from typing import Any

from bench.agreement import disagreement
from bench.compare.task import Agreement, Reference, Task

EVERY, SOME, NONE = "every map", "300 maps chosen by gradient", "one pass and its gradient"
FEW, ONE = "some maps, chosen without a gradient", "one pass"
OURS, PYTORCH, PEERS = "bench.compare.ours:Ours", "bench.compare.pytorch", "bench.compare.peers"


@dataclass(frozen=True)
class Contender:
    """One row of the table. `place` is `module:class`, imported by the contender's own process alone."""

    name: str
    title: str
    computes: str
    place: str
    precision: str = "fp32"
    options: dict[str, Any] = field(default_factory=dict)
    group: str = ""  # only contenders of one group hold the device's memory at the same time

    @property
    def ours(self) -> bool:
        """Whether it is this project's."""
        return self.place == OURS

    def prepare(self, task: Task, reference: Reference) -> Any:  # noqa: ANN401 - of a class that its own process alone imports
        """Load whatever it needs, outside the clock; gives an object with `facts`, `check`, `turn` and `whole`."""
        module, _, name = self.place.partition(":")
        return getattr(import_module(module), name)(task, reference, **self.options)

    def disagreement(self, agreement: Agreement, trained: bool) -> str:
        """Why its scores are not what its precision can do; nothing where they are, or where it has none."""
        if not agreement.checked:
            return ""
        return disagreement(self.precision, agreement.deviation, agreement.error, agreement.spread, trained=trained)


def ours(name: str, title: str, precision: str, computes: str = EVERY, /, *, group: str = "", **options: str) -> Contender:
    """One of our own: options of `Localizer`, and `bundle`, the precision of the bundle."""
    return Contender(name, f"vlscore {title}", computes, OURS, precision, options, group)


def torch(name: str, title: str, precision: str = "fp32", *, group: str = "", **options: bool) -> Contender:
    """One in PyTorch."""
    return Contender(name, title, EVERY, f"{PYTORCH}:PyTorch", precision, {"channels_last": True, **options}, group)


ON_PROCESSOR = (
    Contender("published", "the published way: PyTorch, eager", EVERY, f"{PYTORCH}:Published"),
    torch("torch", "PyTorch, eager, channels last"),
    torch("torch-bf16", "PyTorch, eager, channels last, bf16 autocast", "bf16", bf16=True),
    torch("compile", "torch.compile, channels last", compiled=True),
    torch("compile-bf16", "torch.compile, bf16 autocast", "bf16", bf16=True, compiled=True),
    Contender("grad-cam", "grad-cam's ScoreCAM", EVERY, f"{PEERS}:GradCamPackage"),
    Contender("torchcam", "torchcam's ScoreCAM", EVERY, f"{PEERS}:TorchCamPackage"),
    Contender("gscorecam", "gScoreCAM's choice, PyTorch, channels last", SOME, f"{PEERS}:GScoreCam"),
    Contender("gradcam-one", "Grad-CAM, PyTorch", NONE, f"{PEERS}:GradCam"),
    ours("exact", "`exact`, ONNX Runtime", "fp32", device="cpu"),
    ours("exact-openvino", "`exact`, OpenVINO", "fp32", device="openvino", precision="fp32"),
    ours("exact-bf16", "`exact`, OpenVINO bf16", "bf16", device="openvino", precision="bf16"),
    ours("int8", "`exact`, int8 bundle, ONNX Runtime", "int8", device="cpu", bundle="int8"),
    ours("int8-openvino", "`exact`, int8 bundle, OpenVINO", "int8", device="openvino", bundle="int8"),
    ours("fast", "`fast`, ONNX Runtime", "fp32", FEW, device="cpu", preset="fast"),
    ours("fast-bf16", "`fast`, OpenVINO bf16", "bf16", FEW, device="openvino", precision="bf16", preset="fast"),
    ours("instant", "`instant`, ONNX Runtime", "fp32", ONE, device="cpu", preset="instant"),
)
HALF, SINGLE, FEWER = "half precision, every map", "single precision, every map", "fewer passes, and eight bits"
ON_CARD = (
    torch("torch-fp16", "PyTorch, channels last, fp16", "fp16", group=HALF, half=True),
    torch("compile-fp16", "torch.compile, channels last, fp16", "fp16", group=HALF, half=True, compiled=True),
    torch("graph-fp16", "PyTorch, channels last, fp16, CUDA graph", "fp16", group=HALF, half=True, graph=True),
    ours("exact-cuda-fp16", "`exact`, CUDA, fp16", "fp16", group=HALF, device="cuda", bundle="fp16"),
    ours("exact-tensorrt-fp16", "`exact`, TensorRT, fp16", "fp16", group=HALF, device="tensorrt", bundle="fp16"),
    torch("torch", "PyTorch, eager, as it comes (TF32 convolutions)", "tf32", group=SINGLE, channels_last=False),
    ours("exact-cuda-fp32", "`exact`, CUDA, fp32", "fp32", group=SINGLE, device="cuda", precision="fp32"),
    ours("exact-cuda-tf32", "`exact`, CUDA, TF32", "tf32", group=SINGLE, device="cuda", precision="tf32"),
    ours("exact-tensorrt-fp32", "`exact`, TensorRT, fp32", "fp32", group=SINGLE, device="tensorrt", precision="fp32"),
    ours("exact-tensorrt-tf32", "`exact`, TensorRT, TF32", "tf32", group=SINGLE, device="tensorrt", precision="tf32"),
    ours("fast-cuda-fp16", "`fast`, CUDA, fp16", "fp16", FEW, group=FEWER, device="cuda", bundle="fp16", preset="fast"),
    ours(
        "fast-tensorrt-fp16", "`fast`, TensorRT, fp16", "fp16", FEW, group=FEWER, device="tensorrt", bundle="fp16", preset="fast"
    ),
    ours("instant-cuda-fp16", "`instant`, CUDA, fp16", "fp16", ONE, group=FEWER, device="cuda", bundle="fp16", preset="instant"),
    ours("int8-tensorrt", "`exact`, TensorRT, int8", "int8", group=FEWER, device="tensorrt", bundle="int8-symmetric"),
)
NAMES = tuple(dict.fromkeys(contender.name for contender in (*ON_PROCESSOR, *ON_CARD)))

# One per device: what is asked further questions, and what a fresh interpreter opens.
MAIN = ("exact", "exact-openvino", "exact-bf16", "exact-cuda-fp16", "exact-tensorrt-fp16")


def choose(device: str, names: Sequence[str] = ()) -> list[Contender]:
    """The contenders on a device (on `tensorrt` those of ONNX Runtime are left out), all or those named, in the table's order.

    Raises `ValueError` naming one that is not there.
    """
    kind = device.partition(":")[0]
    every = ON_PROCESSOR if kind == "cpu" else ON_CARD
    there = {each.name: each for each in every if kind != "tensorrt" or each.options.get("device") != "cuda"}
    unknown = [name for name in names if name not in there]
    if unknown:
        raise ValueError(f"contender `{unknown[0]}` is not one on device `{device}`: choose from {', '.join(there)}")
    return [each for name, each in there.items() if not names or name in names]


def by_group(contenders: Sequence[Contender]) -> list[list[Contender]]:
    """The contenders that are set up together."""
    return [list(group) for _, group in groupby(contenders, lambda contender: contender.group)]
