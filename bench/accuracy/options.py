"""What the command was asked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bench.world
from bench.command_line import positive, several
from bench.world.splits import RECIPES
from engine.spec import SPECS
from runtime.presets import Preset

PICTURES = Path(bench.world.__file__).parent / "pictures"
SPLITS = tuple(name for name in RECIPES if name != "train")


@dataclass(frozen=True, slots=True)
class Options:
    """All options of one run."""

    model: str | None
    spec: str
    data: Path
    splits: tuple[str, ...] = SPLITS
    limit: int | None = None
    templates: str = "plain"
    sweep: bool = True
    variants: bool = True
    cache: Path | None = None
    json: Path | None = None
    plots: Path | None = None
    device: str = "auto"
    preset: Preset = "exact"
    threads: int | None = None


def parse(arguments: Sequence[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.accuracy",
        description="Measure how well a model finds what words name, on pictures with known truth.",
    )
    parser.add_argument("--model", help="a bundle's name or folder (none: the model shipped with the package)")
    parser.add_argument("--spec", choices=tuple(SPECS), default="default", help="the spec to report")
    parser.add_argument("--data", type=Path, default=PICTURES, help="a written test set")
    parser.add_argument("--splits", type=several("split", SPLITS), default=SPLITS, help=f"comma between, of: {', '.join(SPLITS)}")
    parser.add_argument("--limit", type=positive, help="at most so many pictures per split")
    parser.add_argument("--templates", default="plain", help="plain, paper, imagenet, world, or a sentence with {} in it")
    parser.add_argument("--sweep", action=argparse.BooleanOptionalAction, default=True, help="search the best spec on `val`")
    parser.add_argument("--variants", action=argparse.BooleanOptionalAction, default=True, help="try other contrasts on `val`")
    parser.add_argument("--cache", type=Path, help="keep encoded pictures here, so that the next run need not encode them")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--plots", type=Path, help="draw the figures and a gallery into this folder")
    parser.add_argument("--device", default="auto", help="where to encode")
    parser.add_argument("--preset", choices=("exact", "instant"), default="exact", help="how pictures are encoded")
    parser.add_argument("--threads", type=positive, help="cores to encode on")
    return Options(**vars(parser.parse_args(arguments)))
