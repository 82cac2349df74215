"""What the command was asked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.command_line import positive, several
from bench.compare.job import Job
from bench.compare.options import PICTURE, default_weights
from bench.gpu.ways import NAMES
from engine.spec import SPECS


@dataclass(frozen=True, slots=True)
class Options:
    """All options of one run."""

    device: str = "cuda"
    backbone: str = "RN50"
    pretrained: str | None = None
    model: str | None = None
    picture: Path = PICTURE
    query: str = "an astronaut"
    spec: str = "paper"
    ways: tuple[str, ...] = ()
    batch: int | None = None
    rounds: int = 5
    budget: float = 450.0
    faithful: int = 4
    threads: int | None = None
    json: Path | None = None
    readme: Path | None = None

    @property
    def on_card(self) -> bool:
        """Whether a card is asked for; `cpu` is for trying the script itself."""
        return self.device != "cpu"

    def job(self, threads: int, model: str, batch: int) -> Job:
        """What the ways are given: the bundles in other precisions lie beside `model`, under its name and theirs."""
        pretrained = self.pretrained or default_weights(self.backbone)
        return Job(self.backbone, pretrained, model, str(self.picture), self.query, self.spec, threads, batch, batch)


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.gpu",
        description="Measure this machine's NVIDIA card: agreement first, then speed, memory and starts, each beside PyTorch.",
        epilog=f"ways: {', '.join(NAMES)}",
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ...; cpu only tries the script itself")
    parser.add_argument("--backbone", default="RN50", help="as for export.build")
    parser.add_argument("--pretrained", help="as for export.build (left out: seeded random weights, or the project's own)")
    parser.add_argument("--model", help="a finished fp32 bundle, others beside it as NAME-fp16; left out: built, and kept")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="picture to localize in")
    parser.add_argument("--query", default="an astronaut", help="what to look for")
    parser.add_argument("--spec", choices=tuple(SPECS), default="paper", help="the switches of the method")
    parser.add_argument("--ways", type=several("way", NAMES), default=(), help="comma between; left out: all of them")
    parser.add_argument("--batch", type=positive, help="masked passes per run (left out: 256, or what the card has room for)")
    parser.add_argument("--rounds", type=positive, default=5, help="turns that every way gets, time permitting")
    parser.add_argument("--budget", type=float, default=450.0, help="seconds for everything")
    parser.add_argument("--faithful", type=int, default=4, help="pictures of the shipped model to compare in full; 0: none")
    parser.add_argument("--threads", type=positive, help="threads on the processor")
    parser.add_argument("--json", type=Path, help="the record (left out: bench/results/gpu-CARD.json)")
    parser.add_argument("--readme", type=Path, metavar="RECORD", help="only write the table of docs/nvidia.md from this record")
    return Options(**vars(parser.parse_args(arguments)))
