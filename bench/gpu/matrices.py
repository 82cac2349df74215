"""How fast a device multiplies matrices and convolves, in every precision: the ceiling of every way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

LEAST_S = 0.1  # a size is multiplied again until it took this long
SIZES = {"cuda": (4096, 8192), "cpu": (256, 512)}
# A 3 x 3 convolution from the middle of RN50, at a batch that fills a card: pictures, channels, side.
CONVOLUTION = {"cuda": (256, 256, 14), "cpu": (4, 64, 14)}
CONVERSIONS = {"fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}


class CardMatrices:
    """Measures rates in PyTorch; lives in a process of its own and is asked every round."""

    def __init__(self, device: str) -> None:
        import torch

        self.torch, self.device = torch, torch.device(device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(f"PyTorch {torch.__version__} finds no CUDA card")
        torch.backends.cudnn.benchmark = True

    def about(self) -> dict[str, Any]:
        """What PyTorch says of itself and the card."""
        torch = self.torch
        found: dict[str, Any] = {"torch": self.torch.__version__, "torch_cuda": self.torch.version.cuda}
        if self.device.type == "cuda":
            major, minor = torch.cuda.get_device_capability(self.device)
            found.update(torch_card=torch.cuda.get_device_name(self.device), sm=f"{major}.{minor}")
            found["cudnn"] = str(torch.backends.cudnn.version())
            found["memory_mib"] = torch.cuda.get_device_properties(self.device).total_memory / 2**20
        return found

    def rates(self) -> dict[str, float]:
        """GFLOP/s by precision, the best of the sizes, and of one convolution as `conv-...`."""
        kinds = ("fp32", "tf32", "fp16", "bf16") if self.device.type == "cuda" else ("fp32", "bf16")
        with self.torch.inference_mode():
            found = {name: rate for kind in kinds for name, rate in self.of(kind)}
        if self.device.type == "cuda":
            self.torch.cuda.empty_cache()  # the ways need the room
        return found

    def of(self, kind: str) -> Iterator[tuple[str, float]]:
        """The rates in one precision."""
        torch, place = self.torch, self.device.type
        self.single("tf32" if kind == "tf32" else "ieee")
        dtype = getattr(torch, CONVERSIONS[kind])
        best = 0.0
        for size in SIZES[place]:
            a, b = (torch.randn(size, size, device=self.device, dtype=dtype) for _ in range(2))
            best = max(best, self.rate(partial(torch.mm, a, b), 2.0 * size**3))
        yield kind, best
        count, channels, side = CONVOLUTION[place]
        last = torch.channels_last
        x = torch.randn(count, channels, side, side, device=self.device, dtype=dtype).to(memory_format=last)
        w = torch.randn(channels, channels, 3, 3, device=self.device, dtype=dtype).to(memory_format=last)
        work = 2.0 * 9 * count * side**2 * channels**2
        yield f"conv-{kind}", self.rate(lambda: torch.nn.functional.conv2d(x, w, padding=1), work)

    def single(self, kind: str) -> None:
        """Whether float32 products may be rounded to TF32 on their way in."""
        if self.device.type == "cuda":
            self.torch.backends.cuda.matmul.fp32_precision = kind
            self.torch.backends.cudnn.conv.fp32_precision = kind  # type: ignore[attr-defined]

    def rate(self, work: Callable[[], object], operations: float) -> float:
        """GFLOP/s: the fastest of several short runs, each waited for."""
        for _ in range(3):
            work()
        self.wait()
        best, spent, repeats = float("inf"), 0.0, 1
        while spent < LEAST_S:
            started = time.perf_counter()
            for _ in range(repeats):
                work()
            self.wait()
            seconds = time.perf_counter() - started
            best, spent = min(best, seconds / repeats), spent + seconds
            repeats = max(repeats, min(50, int(0.02 / max(seconds / repeats, 1e-6))))
        return operations / best / 1e9

    def wait(self) -> None:
        """Until the card is done."""
        if self.device.type == "cuda":
            self.torch.cuda.synchronize(self.device)
