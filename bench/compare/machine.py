"""The machine: what it is, and how fast it multiplies matrices, which is the ceiling of every way."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError, run
from typing import Any

import numpy as np

from bench.compare.job import Job
from runtime.machine import look

ROOT = Path(__file__).parent.parent.parent
SIZES = (1024, 2048, 4096)
SETTLED = 0.5  # of the time looked at: threads of the way that ran last spin for a tenth of a second after it
LEAST_S = 0.15  # a size is multiplied again until it took this long


class Matrices:
    """Measures the best rate of square matrix products, in fp32 and bf16; a way like the others, asked every round."""

    def __init__(self, job: Job) -> None:
        import torch

        torch.set_num_threads(job.threads)
        self.torch = torch

    def rates(self) -> dict[str, float]:
        """GFLOP/s, the best of several sizes and libraries."""
        torch = self.torch
        found = {"fp32": 0.0, "bf16": 0.0}
        for size in SIZES:
            a, b = torch.randn(size, size), torch.randn(size, size)
            found["fp32"] = max(
                found["fp32"], rate(partial(torch.mm, a, b), size), rate(partial(np.matmul, a.numpy(), b.numpy()), size)
            )
            found["bf16"] = max(found["bf16"], rate(partial(torch.mm, a.bfloat16(), b.bfloat16()), size))
        return found


def rate(multiply: Callable[[], object], size: int) -> float:
    """GFLOP/s of a product of two square matrices: the fastest of several."""
    multiply()
    best, spent = float("inf"), 0.0
    while spent < LEAST_S:
        started = time.perf_counter()
        multiply()
        seconds = time.perf_counter() - started
        best, spent = min(best, seconds), spent + seconds
    return 2e-9 * size**3 / best


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
