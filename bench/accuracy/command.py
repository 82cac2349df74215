"""The command: options in, tables, JSON and pictures out."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from rich.console import Console
from threadpoolctl import threadpool_limits

from bench.accuracy.evaluation import SPLITS, Evaluation, Settings
from bench.accuracy.report import show
from bench.accuracy.run import CHOICES, REPORTED, Results, clock, run
from bench.terminal import expected_errors, pictures_bar, positive, several, wide_console, write_text
from bench.world.read import PICTURES
from engine.spec import SPECS
from runtime.errors import VlscoreError


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an expected error is one line on stderr and exit code 1."""
    asked = parse(arguments)
    with expected_errors(VlscoreError, FileNotFoundError, ValueError):
        measure(asked, wide_console())


def measure(asked: Namespace, console: Console) -> Results:
    """Measure what is asked for, print it, and write the files."""
    settings = Settings(**{each.name: getattr(asked, each.name) for each in fields(Settings)})
    started, files = time.perf_counter(), []
    with tempfile.TemporaryDirectory(prefix="vlscore-accuracy-") as temporary:
        evaluation = Evaluation(settings, asked.cache or Path(temporary), lambda doing: pictures_bar(f"encoding {doing}"))
        # A search is thousands of tiny matrix products, which several threads only make slower.
        with threadpool_limits(1, user_api="blas"):
            results = run(evaluation, lambda step: console.print(f"[dim]{step}[/]"))
        if asked.plots:
            files += draw(evaluation, results, asked.plots)
    results.seconds["all"] = time.perf_counter() - started
    show(console, results)
    if asked.json:
        files.append(write_text(asked.json, json.dumps(results.to_dict(), indent=1) + "\n"))
    for file in files:
        console.print(f"[dim]wrote {file}[/]", soft_wrap=True)
    return results


def draw(evaluation: Evaluation, results: Results, folder: Path) -> list[Path]:
    """Draw the figures and the gallery."""
    from bench.accuracy.plots import draw_all, draw_gallery  # here: a run without plots needs no matplotlib

    wanted = evaluation.settings.splits
    splits = [split for split in (REPORTED, CHOICES, *wanted) if split in wanted]
    spec = results.best.trial.spec if results.best else evaluation.spec
    with clock(results, "plots"):
        return [*draw_all(results, folder), *(draw_gallery(evaluation, splits[0], spec, folder) if splits else [])]


def parse(arguments: Sequence[str] | None = None) -> Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.accuracy",
        description="Measure how well a model finds what words name, on pictures with known truth.",
    )
    add = parser.add_argument
    add("--model", help="a bundle's name or folder (none: the model shipped with the package)")
    add("--spec", choices=tuple(SPECS), default="default", help="the spec to report")
    add("--data", type=Path, default=PICTURES, help="a written test set")
    add("--splits", type=several("split", SPLITS), default=SPLITS, help=f"comma between, of: {', '.join(SPLITS)}")
    add("--limit", type=positive, help="at most so many pictures per split")
    add("--templates", default="plain", help="plain, paper, imagenet, world, or a sentence with {} in it")
    add("--sweep", action=argparse.BooleanOptionalAction, default=True, help="search the best spec on `val`")
    add("--cache", type=Path, help="keep encoded pictures here, so that the next run need not encode them")
    add("--json", type=Path, help="write all figures to this file")
    add("--plots", type=Path, help="draw the figures and a gallery into this folder")
    add("--device", default="auto", help="where to encode")
    add("--preset", choices=("exact", "instant"), default="exact", help="how pictures are encoded")
    add("--threads", type=positive, help="cores to encode on")
    return parser.parse_args(arguments)
