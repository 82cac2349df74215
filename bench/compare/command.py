"""The command: options in; tables, record and bars out."""

from __future__ import annotations

import argparse
import json
import re
from argparse import BooleanOptionalAction, Namespace
from collections.abc import Sequence
from pathlib import Path

from bench.compare.contenders import NAMES, choose
from bench.compare.machine import ROOT
from bench.compare.measure import Effort, measure
from bench.compare.record import Record, read_record, rows_of
from bench.compare.report import draw_bars, show, write_table
from bench.compare.task import Task, UnavailableError
from bench.terminal import expected_errors, positive, several, step_lines, wide_console, write_text
from engine.spec import SPECS
from runtime.errors import VlscoreError
from runtime.threads import default_threads

PICTURE = ROOT / "export" / "pictures" / "astronaut.jpg"
SHIPPED = "demo-rn"
BATCH, PASSES = 32, 64  # on a processor
BUDGET = {True: 400.0, False: 1800.0}  # on a card, and on a processor
EXPECTED = (VlscoreError, UnavailableError, OSError, ValueError)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an expected error is one line on stderr and exit code 1."""
    asked = parse(arguments)
    with expected_errors(*EXPECTED):
        if asked.readme:
            print(f"wrote {write_table(ROOT, read_record(asked.readme))}")
        else:
            run(asked)


def run(asked: Namespace) -> Record:
    """Measure, print, and write the files that were asked for."""
    console, task = wide_console(), make_task(asked)
    budget = asked.budget or BUDGET[task.on_card]
    effort = Effort(asked.rounds, budget, asked.whole, asked.queries, asked.starts, asked.build)
    with step_lines() as say:
        record = measure(task, effort, choose(task.device, asked.contenders), say)
    show(console, record)
    file = asked.json or default_file(record)
    if file:
        write_text(file, json.dumps(record, indent=1) + "\n")
    if asked.plot:
        draw_bars(record, asked.plot)
    for written in (file, asked.plot):
        if written:
            console.print(f"[dim]wrote {written}[/]", soft_wrap=True)
    return record


def make_task(asked: Namespace) -> Task:
    """What the contenders are given; what was left out depends on the device and the backbone."""
    on_card = asked.device != "cpu"
    return Task(
        device=asked.device,
        backbone=asked.backbone,
        pretrained=asked.pretrained or default_weights(asked.backbone),
        model=asked.model or (SHIPPED if asked.backbone == SHIPPED else None),
        picture=str(asked.picture),
        query=asked.query,
        spec=asked.spec,
        threads=asked.threads or default_threads(),
        batch=asked.batch or (0 if on_card else BATCH),
        passes=(0 if on_card else PASSES) if asked.passes is None else asked.passes,
    )


def default_weights(backbone: str) -> str:
    """Seeded random weights, which any machine can make; a model trained in this project comes with its own."""
    own = ROOT / "export" / "checkpoints" / f"{backbone}.safetensors"
    return str(own) if own.is_file() else "none"


def default_file(record: Record) -> Path | None:
    """Where a card's record goes when nobody says, by the card's name; one of a processor is only shown."""
    if record["task"]["device"] == "cpu" or all(row.reason for row in rows_of(record)):
        return None
    name = re.sub(r"[^a-z0-9]+", "-", str(record["card"].get("name") or "card").lower()).strip("-")
    return ROOT / "bench" / "results" / f"compare-{name}.json"


def device(text: str) -> str:
    """A device, of a card maybe with its number."""
    if not re.fullmatch(r"cpu|(cuda|tensorrt)(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"`{text}` is none of cpu, cuda, tensorrt, nor a card by its number, as in cuda:1")
    return text


def parse(arguments: Sequence[str] | None = None) -> Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description="Localize in one picture by many contenders, taking turns on this machine: agreement, speed, memory.",
        epilog=f"contenders: {', '.join(NAMES)}",
    )
    add, on_off = parser.add_argument, BooleanOptionalAction
    add(
        "--device", type=device, default="cpu", help="cpu; cuda: all that run on an NVIDIA card; tensorrt: without ONNX Runtime's"
    )
    add("--backbone", default="RN50", help="as for export.build; its bundles must be built, or see --build")
    add("--pretrained", help="as for export.build (left out: seeded random weights, or the project's own)")
    add("--model", help="fp32 bundle; others beside it, as NAME-int8")
    add("--build", action=on_off, default=False, help="first build those of the backbone's bundles that are not there")
    add("--picture", type=Path, default=PICTURE, help="picture to localize in")
    add("--query", default="an astronaut", help="what to look for")
    add("--spec", choices=tuple(SPECS), default="paper", help="the switches of the method")
    add("--contenders", type=several("contender", NAMES), default=(), help="comma between; left out: all of the device")
    add("--rounds", type=positive, default=5, help="turns that every contender gets")
    add("--budget", type=float, help="seconds for setting up and the rounds (left out: 1800, on a card 400)")
    add("--passes", type=int, help=f"masked passes of one turn; 0: whole pictures (left out: {PASSES}, on a card 0)")
    add("--batch", type=positive, help=f"of PyTorch, and of a card's bundles (left out: {BATCH}, on a card as there is room)")
    add("--threads", type=positive, help="threads of every contender")
    add("--whole", action=on_off, default=False, help="afterwards, one whole picture by each: true seconds and memory")
    add("--queries", type=int, default=1000, help="further queries to ask an encoded picture; 0: none")
    add("--starts", action=on_off, default=True, help="time fresh interpreters")
    add("--json", type=Path, help="write the record to this file (left out on a card: bench/results/compare-CARD.json)")
    add("--plot", type=Path, help="draw the bars into this file")
    add("--readme", type=Path, metavar="RECORD", help="only write the documents' table from this record")
    return parser.parse_args(arguments)
