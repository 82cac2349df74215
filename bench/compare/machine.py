"""The machine: what it is, what else it does, and how fast it multiplies matrices, which is the ceiling of all contenders."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError, run
from typing import Any

import numpy as np

from bench.compare.task import Task, UnavailableError
from runtime.machine import look

ROOT = Path(__file__).parent.parent.parent
SETTLED = 0.5  # of the time looked at: threads of the contender that ran last spin for a tenth of a second after it
SIZES = (512, 1024, 2048, 4096, 8192)
LEAST_S = 0.15  # a size is multiplied again until it took this long
MOST_S = 1.0  # no size is tried of which one product would take longer
TYPES = {"fp32": "float32", "tf32": "float32", "bf16": "bfloat16", "fp16": "float16"}


class MatrixRates:
    """Measures the best rate of square matrix products; lives in a process of its own and is asked every round."""

    def __init__(self, task: Task) -> None:
        import torch

        torch.set_num_threads(task.threads)
        self.torch = torch
        try:
            self.device, self.missing = torch_device(task), ""
        except UnavailableError as error:
            self.missing = str(error)

    def about(self) -> dict[str, Any]:
        """What PyTorch says of a card, or why it says nothing."""
        if self.missing:
            return {"pytorch": self.missing}
        torch = self.torch
        found = torch.cuda.get_device_properties(self.device)
        memory = found.total_memory / 2**20
        return {"name": found.name, "memory_mib": memory, "compute_capability": f"{found.major}.{found.minor}"}

    def rates(self) -> dict[str, float]:
        """GFLOP/s by precision, the best of several sizes (and, on a processor in fp32, of two libraries)."""
        if self.missing:
            return {}
        kinds = tuple(TYPES) if self.device.type == "cuda" else processor_kinds(look().flags or {})
        with self.torch.inference_mode():
            found = {kind: best_rate(partial(self.product, kind), self.wait) for kind in kinds}
        if self.device.type == "cuda":
            self.torch.cuda.empty_cache()  # the contenders need the room
        else:
            found["fp32"] = max(found["fp32"], best_rate(numpy_product, self.wait))
        return found

    def product(self, kind: str, size: int) -> Callable[[], object]:
        """A product of two square matrices."""
        torch = self.torch
        if self.device.type == "cuda":  # whether float32 products may be rounded to TF32 on their way in
            torch.backends.cuda.matmul.fp32_precision = "tf32" if kind == "tf32" else "ieee"
        dtype = getattr(torch, TYPES[kind])
        a, b = (torch.randn(size, size, device=self.device).to(dtype) for _ in range(2))
        return partial(torch.mm, a, b)

    def wait(self) -> None:
        """Until a card is done."""
        if self.device.type == "cuda":
            self.torch.cuda.synchronize(self.device)


def torch_device(task: Task) -> Any:  # noqa: ANN401 - a torch.device; PyTorch is imported by those who need it
    """Where PyTorch runs; raises UnavailableError when it finds no card."""
    import torch

    if not task.on_card:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise UnavailableError(f"PyTorch {torch.__version__} finds no CUDA card")
    return torch.device("cuda", task.card_number)


def processor_kinds(flags: dict[str, bool]) -> tuple[str, ...]:
    """The precisions that a processor has instructions for; without them bf16 is emulated, a hundred times slower."""
    return ("fp32", "bf16") if flags.get("avx512_bf16") or flags.get("amx_bf16") else ("fp32",)


def numpy_product(size: int) -> Callable[[], object]:
    """The same in numpy."""
    a, b = (np.random.default_rng(0).standard_normal((size, size), dtype=np.float32) for _ in range(2))
    return partial(np.matmul, a, b)


def best_rate(product: Callable[[int], Callable[[], object]], wait: Callable[[], None], sizes: tuple[int, ...] = SIZES) -> float:
    """GFLOP/s of the best size, from the smallest upward, as far as one product stays short."""
    best = 0.0
    for size in sizes:
        work = 2e-9 * size**3  # GFLOP
        if best and work / best > MOST_S:
            break
        best = max(best, work / fastest(product(size), wait))
    return best


def fastest(multiply: Callable[[], object], wait: Callable[[], None]) -> float:
    """Seconds of one product: the fastest of several, after one to warm up."""
    multiply()
    wait()
    best, spent = float("inf"), 0.0
    while spent < LEAST_S:
        started = time.perf_counter()
        multiply()
        wait()
        seconds = time.perf_counter() - started
        best, spent = min(best, seconds), spent + seconds
    return best


def busy(root: Path = Path("/"), seconds: float = 1.0) -> float:
    """The share of the cores' time that others take while we wait; 0 where the system does not tell."""
    time.sleep(SETTLED * seconds)
    before = processor_time(root)
    time.sleep(seconds)
    after = processor_time(root)
    if before is None or after is None or after[1] <= before[1]:
        return 0.0
    return (after[0] - before[0]) / (after[1] - before[1])


def processor_time(root: Path) -> tuple[int, int] | None:
    """Ticks that the processors worked, or that were stolen from this machine, and ticks in all."""
    try:
        ticks = [int(word) for word in (root / "proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    idle = sum(ticks[3:5])  # idle, and waiting for a disk
    return sum(ticks) - idle, sum(ticks)


def describe(threads: int) -> dict[str, Any]:
    """Processor, cores, instructions, memory, system, date and commit, as plain values."""
    seen = look()
    return {
        "processor": seen.processor,
        "cores": seen.allowed,
        "threads": threads,
        "flags": [flag for flag, there in (seen.flags or {}).items() if there],
        "memory_gib": round((seen.memory_total or 0) / 2**30, 1),
        "system": seen.platform.split("-")[0],
        "python": seen.python,
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
    }


def commit(root: Path = ROOT) -> str:
    """The commit measured, with a mark when files differ from it; empty outside a repository."""
    try:
        head, status = (
            run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))
        )
    except (CalledProcessError, FileNotFoundError):
        return ""
    return head + ("+" if status else "")


def versions(*names: str) -> dict[str, str]:
    """The installed ones of these libraries."""
    found = {}
    for name in names:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
