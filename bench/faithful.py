"""`python -m bench.faithful --bundle runtime/models/demo-rn`: bundles against the oracle, on many pictures.

The oracle is the method in literal PyTorch on open_clip's own model (`tests/oracle.py`). Every map of every picture is
run both ways; what is counted is what a user could notice.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.command_line import positive
from bench.world.read import read_split
from bench.world.splits import Example
from engine.metrics import box_agreement, iou
from engine.spec import named_spec
from export.backbones import find_backbone
from export.weights import Loaded, default_weights, find_source, load
from runtime import Localizer, Query
from tests import oracle as way

PICTURES = Path(__file__).parent / "world" / "pictures"


@dataclass(frozen=True, slots=True)
class Faith:
    """How far a bundle is from the oracle, over all pictures and questions."""

    bundle: str
    precision: str
    pictures: int
    compared: int  # scores
    flips: int  # maps above the base on one side only
    largest_score_error: float
    largest_saliency_error: float
    mean_saliency_error: float
    lowest_box_iou: float
    mean_box_agreement: float
    same_box_count: int


def wanted(loaded: Loaded, examples: Sequence[Example], spec: str, batch: int) -> list[way.OraclePicture]:
    """The oracle's answer about the first thing of every picture: it runs all passes again for every question."""
    settings = way.OracleSpec(**{name: value for name, value in named_spec(spec).to_dict().items() if name != "presence"})
    found = []
    for example in track(examples, "oracle", transient=True):
        with torch.no_grad():
            text = loaded.model.encode_text(loaded.tokenizer([f"a {example.things[0].noun}"]))[0]
        found.append(way.locate(loaded.model, example.pixels, text, settings, batch=batch))
    return found


def compare(
    folder: str, examples: Sequence[Example], theirs: list[way.OraclePicture], spec: str, *, device: str = "cpu"
) -> Faith:
    """Ask a bundle the same and count what differs."""
    localizer = Localizer(folder, device=device, spec=named_spec(spec).replace(presence="any"))  # the oracle knows no margin
    flips, compared, same = 0, 0, 0
    errors, changes, overlaps, agreements = [0.0], [], [1.0], []
    for example, oracle in zip(track(examples, folder, transient=True), theirs, strict=True):
        scene, queries = localizer.encode(example.pixels), [Query((f"a {example.things[0].noun}",))]
        texts = localizer.text.embed(queries)
        mine = localizer.answerer.answer(scene, queries, texts)[0]
        scores, _ = next(localizer.answerer.scores_and_maps(scene, texts))
        both = way.live(oracle.maps).numpy()
        relative = oracle.scores.double().numpy() - oracle.base_score
        flips += int(((scores > 0) != (relative > 0))[both].sum())
        compared += int(both.sum())
        errors.append(float(np.abs(scores - relative)[both].max()))
        changes.append(np.abs(mine.saliency - oracle.saliency))
        agreements.append(box_agreement(mine.xyxy, oracle.xyxy))
        same += len(mine.xyxy) == len(oracle.xyxy)
        if len(mine.xyxy) and len(oracle.xyxy):
            overlaps.append(float(iou(mine.xyxy, oracle.xyxy).max(axis=1).min()))
    return Faith(
        bundle=Path(folder).name,
        precision=localizer.manifest.precision,
        pictures=len(examples),
        compared=compared,
        flips=flips,
        largest_score_error=max(errors),
        largest_saliency_error=max(float(change.max()) for change in changes),
        mean_saliency_error=float(np.mean([change.mean() for change in changes])),
        lowest_box_iou=min(overlaps),
        mean_box_agreement=float(np.mean(agreements)),
        same_box_count=same,
    )


def show(found: Sequence[Faith]) -> None:
    """Print one column per bundle."""
    table = Table(title="bundles against the oracle", title_justify="left")
    table.add_column("")
    for one in found:
        table.add_column(f"{one.bundle}, {one.precision}", justify="right")
    for name in list(asdict(found[0]))[2:]:
        values = [getattr(one, name) for one in found]
        table.add_row(name.replace("_", " "), *(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values))
    Console(highlight=False).print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, run both sides, print and write."""
    parser = argparse.ArgumentParser(prog="python -m bench.faithful", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--backbone", default="demo-rn", help="as for export.build")
    parser.add_argument("--pretrained", help="as for export.build; the oracle's weights")
    parser.add_argument("--bundle", action="append", required=True, help="built from the same weights; may repeat")
    parser.add_argument("--pictures", type=positive, default=100)
    parser.add_argument("--spec", default="default", help="default or paper")
    parser.add_argument("--batch", type=positive, default=32, help="the oracle's")
    parser.add_argument("--data", type=Path, default=PICTURES, help="a written test set")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args(arguments)
    backbone = find_backbone(options.backbone)
    loaded = load(backbone, find_source(backbone, options.pretrained or default_weights(backbone), None), 0)
    examples = list(read_split(options.data, "test"))[: options.pictures]
    theirs = wanted(loaded, examples, options.spec, options.batch)
    found = [compare(folder, examples, theirs, options.spec) for folder in options.bundle]
    show(found)
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in found], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
