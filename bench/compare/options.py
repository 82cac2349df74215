"""What the command was asked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.command_line import positive, several
from bench.compare.job import Job
from bench.compare.ways import BY_NAME
from engine.spec import SPECS

ROOT = Path(__file__).parent.parent.parent
PICTURE = ROOT / "export" / "pictures" / "astronaut.jpg"
SHIPPED = "demo-rn"


@dataclass(frozen=True, slots=True)
class Options:
    """All options of one run."""

    backbone: str = "RN50"
    pretrained: str | None = None
    model: str | None = None
    picture: Path = PICTURE
    query: str = "an astronaut"
    spec: str = "paper"
    ways: tuple[str, ...] = ()
    rounds: int = 5
    budget: float = 900.0
    passes: int = 64
    batch: int = 32
    threads: int | None = None
    whole: bool = False
    queries: int = 1000
    cold: bool = True
    json: Path | None = None
    plot: Path | None = None
    readme: Path | None = None

    def job(self, threads: int) -> Job:
        """What the ways are given."""
        pretrained, batch = self.pretrained or default_weights(self.backbone), self.batch
        model = self.model or (SHIPPED if self.backbone == SHIPPED else None)
        picture = str(self.picture)
        return Job(self.backbone, pretrained, model, picture, self.query, self.spec, threads, batch, self.passes)


def default_weights(backbone: str) -> str:
    """Seeded random weights, which any machine can make; a model trained in this project comes with its own."""
    own = ROOT / "export" / "checkpoints" / f"{backbone}.safetensors"
    return str(own) if own.is_file() else "none"


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description="Localize in one picture by many ways, taking turns on this machine: speed, memory, agreement.",
        epilog=f"ways: {', '.join(BY_NAME)}",
    )
    parser.add_argument("--backbone", default="RN50", help="as for export.build; its bundle must be built")
    parser.add_argument("--pretrained", help="as for export.build (left out: seeded random weights, or the project's own)")
    parser.add_argument("--model", help="fp32 bundle; its int8 sibling has `-int8` at the end of its name")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="picture to localize in")
    parser.add_argument("--query", default="an astronaut", help="what to look for")
    parser.add_argument("--spec", choices=tuple(SPECS), default="paper", help="the switches of the method")
    parser.add_argument("--ways", type=several("way", BY_NAME), default=(), help="comma between; left out: all of them")
    parser.add_argument("--rounds", type=positive, default=5, help="turns that every way gets")
    parser.add_argument("--budget", type=float, default=900.0, help="seconds after which no further round begins")
    parser.add_argument("--passes", type=positive, default=64, help="masked passes of one turn")
    parser.add_argument("--batch", type=positive, default=32, help="batch of the ways in PyTorch; a bundle has its own")
    parser.add_argument("--threads", type=positive, help="threads of every way")
    parser.add_argument("--whole", action="store_true", help="afterwards, one whole picture by each way: true seconds and memory")
    parser.add_argument("--queries", type=int, default=1000, help="further queries to ask an encoded picture; 0: none")
    parser.add_argument("--cold", action=argparse.BooleanOptionalAction, default=True, help="time fresh interpreters")
    parser.add_argument("--json", type=Path, help="write the record to this file")
    parser.add_argument("--plot", type=Path, help="draw the bars into this file")
    parser.add_argument("--readme", type=Path, metavar="RECORD", help="only write docs/benchmarks.md's table from this record")
    return Options(**vars(parser.parse_args(arguments)))
