"""The command: which data, whose answers, which protocols; then the run, its figures and its report."""

from __future__ import annotations

import argparse
import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.evaluate.answers import FolderAnswers, ModelAnswers
from bench.evaluate.data import DataError, DataSet
from bench.evaluate.figures import figures_of
from bench.evaluate.judge import PROTOCOLS, Kernels
from bench.evaluate.layouts.coco import coco, cocoglide
from bench.evaluate.layouts.imagenet import imagenet, imagenet_s
from bench.evaluate.layouts.voc import voc
from bench.evaluate.layouts.world import world
from bench.evaluate.layouts.wsol import FOLDERS, wsol
from bench.evaluate.records import RUN, Records, read_records
from bench.evaluate.report import about, to_markdown, write_report
from bench.evaluate.run import Work, run, summary
from bench.terminal import expected_errors, pictures_bar, positive, several, wide_console
from engine.methods import DEFAULT_METHOD, METHODS
from engine.metrics.max_box import SIDE
from engine.spec import SPECS, Spec
from runtime import Localizer
from runtime.cli.checks import named_default, switch
from runtime.errors import VlscoreError

DATASETS = ("world", "imagenet", "imagenet-s", *FOLDERS, "coco", "folder", "voc", "cocoglide")
DEFAULTS = ("boxes", "maxbox", "pixels", "segments", "presence")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; an expected error is one line on stderr and exit code 1."""
    asked = parse(arguments)
    try:
        with expected_errors(VlscoreError, DataError, OSError, ModuleNotFoundError, ValueError):
            evaluate(asked, wide_console())
    except KeyboardInterrupt:
        print(f"stopped; the same command goes on where it was, with what is in {asked.out}", file=sys.stderr)
        sys.exit(130)


def evaluate(asked: Namespace, console: Console) -> None:
    """Measure what is not measured yet, then write the report of all that is."""
    data = opened(asked).first(asked.first_files)
    spec = spec_of(asked)
    localizer = None if asked.maps or asked.report_only else open_model(asked, spec)
    kernels = Kernels(sides=(0, *asked.kernels)) if asked.kernels else Kernels()
    if not asked.report_only:
        answers = answers_of(asked, data, localizer)
        records = Records(asked.out, about(asked, data, spec, kernels, localizer), asked.shard)
        try:
            with pictures_bar(data.name, lines=True) as tick:
                run(Work(data, answers, spec, asked.protocols, kernels, asked.dump), records, asked.shard, tick)
        finally:
            records.close()
    begun: dict[str, Any] = json.loads((asked.out / RUN).read_text(encoding="utf-8")) if (asked.out / RUN).exists() else {}
    found = read_records(asked.out)
    counted = {**summary(found), "of": len(data.keys)}
    figures = figures_of({key: one for key, one in found.items() if "skipped" not in one}, kernels, len(data.labels))
    files = write_report(asked.out, begun, counted, figures, found, data)
    console.print(to_markdown(begun, counted, figures), markup=False, soft_wrap=True)
    for file in files:
        console.print(f"[dim]wrote {file}[/]", soft_wrap=True)


def answers_of(asked: Namespace, data: DataSet, localizer: Localizer | None) -> ModelAnswers | FolderAnswers:
    """Whose answers are judged."""
    if localizer is None:
        return FolderAnswers(asked.maps)
    classifier = localizer if asked.classify else None
    if asked.classify and asked.classifier:
        classifier = Localizer(asked.classifier, device=asked.device, threads=asked.threads)
    return ModelAnswers(localizer, data.labels, asked.templates, classifier, asked.together)


def opened(asked: Namespace) -> DataSet:
    """The data set that was asked for."""
    if asked.root is None and asked.dataset != "world":
        raise DataError(f"`{asked.dataset}` needs --root, the folder that holds it")
    readers = {
        "world": lambda: world(asked.root, asked.split or "test"),
        "imagenet": lambda: imagenet(asked.root, asked.labels, asked.first_classes),
        "imagenet-s": lambda: imagenet_s(asked.root, asked.labels),
        "coco": lambda: coco(asked.root, asked.truth, asked.pictures, not asked.boxes_only),
        "folder": lambda: coco(asked.root, asked.truth, asked.pictures, not asked.boxes_only, "folder"),
        "voc": lambda: voc(asked.root, asked.split or "val", not asked.boxes_only),
        "cocoglide": lambda: cocoglide(asked.root, asked.fake),
    }
    return readers[asked.dataset]() if asked.dataset in readers else wsol(asked.dataset, asked.root, asked.split, asked.labels)


def spec_of(asked: Namespace) -> Spec:
    """The method's own spec with the switches that were set.

    What is asked for is there: a margin that says otherwise would hide how well it was found.
    """
    own = named_default(asked.spec, asked.method)
    return own.replace(presence="any").replace(**dict(switch(own, each) for each in asked.set))


def open_model(asked: Namespace, spec: Spec) -> Localizer:
    """The model that answers."""
    options = {name: getattr(asked, name) for name in ("method", "device", "preset", "threads", "windows", "affinity")}
    return Localizer(asked.model, spec=spec, **options)


def shard_of(text: str) -> tuple[int, int]:
    """`1/4`: the second of four processes, counted from 0."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise argparse.ArgumentTypeError(f"`{text}` is no shard: give `0/4` to `3/4` to four processes")
    return int(number), int(count)


def odd_sides(text: str) -> tuple[int, ...]:
    """Kernel sides with commas between."""
    sides = [side.strip() for side in text.split(",")]
    if not all(side.isdecimal() and int(side) % 2 for side in sides):
        raise argparse.ArgumentTypeError(f"`{text}` must hold odd numbers of pixels with commas between")
    return tuple(int(side) for side in sides)


def parse(arguments: Sequence[str] | None = None) -> Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.evaluate",
        description="Judge a model, or score maps that others made, by every protocol that a data set's truth allows.",
        epilog="python -m bench.evaluate.tables lists the commands of the published tables.",
    )
    add = parser.add_argument
    add("dataset", choices=DATASETS)
    add("--root", type=Path, help="the folder that holds the data set, in its public layout")
    add("--out", type=Path, required=True, help="records and report; a run that is there is gone on with")
    add("--model", help="a bundle's name or folder (none: the model shipped with the package)")
    add(
        "--maps",
        type=Path,
        help=f"judge score maps instead: KEY.npy, values in [0, 1], as the public evaluator has them ({SIDE} x {SIDE})",
    )
    add("--method", choices=tuple(METHODS), default=DEFAULT_METHOD, metavar="NAME", help="one that the bundle has (vl-score)")
    add("--windows", type=int, default=0, help="look through windows of pictures of so many pixels (dense methods)")
    add("--affinity", action="store_true", help="spread maps among patches that belong together (transformers)")
    add("--preset", default="exact", choices=("exact", "fast", "instant"))
    add("--device", default="auto")
    add("--threads", type=positive)
    add("--spec", choices=tuple(SPECS), default="default")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="one switch of the spec; may repeat")
    add("--templates", help="plain, paper, imagenet, or a sentence with {} in it (none: the method's own)")
    add("--together", action="store_true", help="ask for all labels of a picture in one call, where they may compete")
    add("--protocols", type=several("protocol", PROTOCOLS), default=DEFAULTS, help=f"of {', '.join(PROTOCOLS)}")
    add("--kernels", type=odd_sides, help="sides of the kernels that the grid tries (41,43,...,61)")
    add(
        "--classify",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="rank all labels, for Top-1 and Top-5",
    )
    add("--classifier", metavar="MODEL", help="another model that ranks them: class by one, boxes by the other")
    add("--split", help="a split of the layout")
    add("--labels", type=Path, help="words of the classes, one class a line, synonyms with commas between")
    add("--truth", type=Path, help="COCO's JSON, where it is not in its place")
    add("--pictures", type=Path, help="the folder of the pictures, where it is not in its place")
    add("--boxes-only", action="store_true", help="leave masks out (coco, folder, voc)")
    add("--fake", action="store_true", help="the in-painted pictures of CocoGlide")
    add("--first-files", type=positive, help="the first pictures in the order of files")
    add("--first-classes", type=positive, help="the pictures of the first classes in the order of WordNet numbers (imagenet)")
    add("--shard", type=shard_of, default=(0, 1), metavar="I/N", help="do every Nth picture, from the Ith: for several processes")
    add("--dump", type=Path, help="write score maps here, in the layout of the public evaluator")
    add("--report-only", action="store_true", help="measure nothing more; write the report of what is there")
    return parser.parse_args(arguments)
