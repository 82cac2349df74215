"""Train one of the demo models on the emoji world.

    python -m bench.training.train --model demo-rn --sprites sprites.npz --out runs/demo-rn

Killed and started again with the same arguments, it goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.training.check import Exam, exam
from bench.training.data import Batch, Source, loader
from bench.training.models import MODELS, side
from bench.training.plot import plot_log
from bench.training.run import Options, Run
from bench.world.artwork import load_sprites

STRIDE = 32  # sides of training pictures fit the grids of both models


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of a run: until how many pictures, of which side, on which scenes."""

    until: int
    side: int
    close: bool


def train(options: Options) -> None:
    """Train until all pictures were seen; log, check and save on the way."""
    options.out.mkdir(parents=True, exist_ok=True)
    run = Run(options)
    sprites = load_sprites(options.sprites)
    exams = {name: exam(sprites, name, 300, side(run.model)) for name in ("val", "unseen-artwork")}
    del sprites
    whole = side(run.model)
    small = math.ceil(2 * whole / 3 / STRIDE) * STRIDE
    phases = (
        Phase(round(0.57 * options.pictures), small // 2, close=True),
        Phase(round(0.86 * options.pictures), small, close=False),
        Phase(options.pictures, whole, close=False),
    )
    for phase in phases:
        if run.pictures < phase.until:
            _train_phase(run, exams, phase)


def _train_phase(run: Run, exams: dict[str, Exam], phase: Phase) -> None:
    """Train until a phase is over."""
    options = run.options
    source = Source(options.sprites, phase.side, options.batch, options.seed, run.pictures, phase.close)
    batches: Iterator[Batch] = iter(loader(source, options.workers))
    began, start = run.minutes, time.monotonic()
    since, losses = began, list[float]()
    while run.pictures < phase.until:
        losses.append(run.step(next(batches)))
        run.minutes = began + (time.monotonic() - start) / 60
        if run.minutes - since < options.every and run.pictures < phase.until:
            continue
        run.save()
        line: dict[str, float] = {
            "minutes": round(run.minutes, 2),
            "pictures": run.pictures,
            "side": phase.side,
            "loss": round(sum(losses) / len(losses), 4),
            "scale": round(float(run.model.logit_scale.detach().exp()), 2),
            "per_second": round(len(losses) * options.batch / ((run.minutes - since) * 60), 1),
        }
        _log(options.out, line | {name: round(run.accuracy(asked), 4) for name, asked in exams.items()})
        run.minutes = began + (time.monotonic() - start) / 60
        since, losses = run.minutes, list[float]()


def _log(out: Path, line: dict[str, float]) -> None:
    print(json.dumps(line), flush=True)
    with (out / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
    plot_log(out / "log.jsonl", out / "training.png")


def main() -> None:
    """Read the options and train."""
    parser = argparse.ArgumentParser(description="Train one of the demo models on the emoji world.")
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--sprites", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for checkpoints, log and plot")
    parser.add_argument("--pictures", type=int, default=520_000, help="how many to train on; the schedule is laid over them")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1.5e-3, help="highest learning rate")
    parser.add_argument("--decay", type=float, default=0.05)
    parser.add_argument("--averaging", type=float, default=0.998, help="decay of the averaged weights")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw pictures")
    parser.add_argument("--every", type=float, default=4, help="minutes between checkpoints")
    parser.add_argument("--compiled", action="store_true", help="compile the picture tower (needs a C++ compiler)")
    parser.add_argument("--teacher", type=Path, help="demo-rn checkpoint: keep its words, learn from its embeddings")
    train(Options(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
