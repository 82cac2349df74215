"""Timing a bundle on this machine: its devices, precisions and threads, on the bundle's own batch."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.manifest import Manifest
from runtime.backends.session import Session
from runtime.devices import CARDS, ON_REQUEST, OPENERS, Wish
from runtime.errors import DeviceError
from runtime.measurements import Timing
from runtime.threads import default_threads

ROUNDS = 5
Ticker = Callable[[int, int, str], None]  # done, of how many, what runs now


@dataclass(frozen=True)
class Setting:
    """One way to run the masked passes."""

    device: str
    precision: str
    threads: int

    def __str__(self) -> str:
        return f"{self.device}, {self.precision}, {self.threads} thread{'s' if self.threads > 1 else ''}"


@dataclass(frozen=True)
class Passes:
    """All that timing a masked graph needs to know of it."""

    precision: str
    batch: int
    slots: int
    side: int
    grid_hw: tuple[int, int]

    @classmethod
    def of(cls, manifest: Manifest) -> Passes:
        """The passes of a bundle."""
        maps = manifest.maps
        return cls(manifest.precision, manifest.batch, manifest.slots, manifest.image.side, (maps.height, maps.width))

    def example_inputs(self) -> dict[str, NDArray[Any]]:
        """A batch like any other: what the pixels and maps hold does not change the time."""
        noise = np.random.default_rng(0)
        return {
            "pixels": noise.integers(0, 256, (self.slots, self.side, self.side, 3), dtype=np.uint8),
            "which": np.zeros(self.batch, dtype=np.int64),
            "maps": noise.random((self.batch, *self.grid_hw), dtype=np.float32),
        }


def silent(done: int, total: int, doing: str) -> None:
    """Tell nobody."""


def settings(precision: str) -> Iterator[Setting]:
    """Every setting that this machine has for a bundle of a precision; devices that cannot be had are left out."""
    for device, opener in OPENERS.items():
        if device in ON_REQUEST:
            continue
        for threads in [default_threads()] if device in CARDS else thread_counts():
            try:
                offered = opener(Wish(threads)).precisions
            except DeviceError:
                continue
            for name in offered if precision == "fp32" else (precision,):
                yield Setting(device, name, threads)


def thread_counts() -> list[int]:
    """All threads, and half of them where that still is several: memory may be the limit."""
    most = default_threads()
    return [most, most // 2] if most >= 4 else [most]


def measure(graph: Path, passes: Passes, rounds: int = ROUNDS, tick: Ticker = silent) -> list[Timing]:
    """Time the masked graph in every setting, fastest first. The rounds go round the settings, so that none has luck."""
    chosen = list(settings(passes.precision))
    if not chosen:
        raise DeviceError("no device can be used on this machine; `vlscore doctor` says why")
    total = len(chosen) * (rounds + 1)
    opened: list[Session] = []
    inputs = passes.example_inputs()
    for done, setting in enumerate(chosen):
        tick(done, total, f"opening {setting}")
        opened.append(open_graph(setting, graph))
        opened[-1].run(inputs)
    seconds: list[list[float]] = [[] for _ in chosen]
    for step in range(rounds * len(chosen)):
        turn = step % len(chosen)
        tick(len(chosen) + step, total, str(chosen[turn]))
        seconds[turn].append(timed(opened[turn], inputs))
    tick(total, total, "done")
    timings = [
        Timing(setting.device, setting.precision, setting.threads, passes.batch / statistics.median(taken))
        for setting, taken in zip(chosen, seconds, strict=True)
    ]
    return sorted(timings, key=lambda timing: -timing.passes_per_s)


def open_graph(setting: Setting, graph: Path) -> Session:
    """Open a graph in a setting; bundles with a precision baked in run as they are."""
    backend = OPENERS[setting.device](Wish(setting.threads))
    return backend.open(graph, setting.precision if setting.precision in backend.precisions else "fp32")


def timed(session: Session, inputs: dict[str, NDArray[Any]]) -> float:
    """Seconds of one run."""
    started = time.perf_counter()
    session.run(inputs)
    return time.perf_counter() - started
