"""`python -m bench.accuracy.parity --bundle runtime/models/demo-rn`: bundles against the oracle, on many pictures.

The oracle is the method in literal PyTorch on open_clip's own model (`tests/oracle.py`). Every map of every picture is
run both ways, on every device asked for; what is counted is what a user could notice. A bundle whose scores are off by more
than its precision explains ends the command with exit code 1, after its figures.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from bench.agreement import disagreement, spread
from bench.terminal import make_table, positive, wide_console, write_text
from bench.world.read import PICTURES, read_split
from bench.world.splits import Example
from engine.metrics import box_agreement, iou
from engine.spec import SPECS, named_spec
from export.backbones import find_backbone
from export.sources import default_weights, find_source
from export.weights import load
from runtime import Localizer, Query
from runtime.devices import Device
from runtime.errors import VlscoreError
from tests import oracle


@dataclass(frozen=True, slots=True)
class Parity:
    """How far a bundle on a device is from the oracle, over all pictures and questions."""

    bundle: str
    precision: str
    device: str
    pictures: int
    compared: int  # scores
    flips: int  # maps above the base on one side only
    relative_score_error: float  # root mean square, in units of the spread of the oracle's scores
    score_spread: float  # in units of the same
    largest_score_error: float
    largest_saliency_error: float
    mean_saliency_error: float
    lowest_box_iou: float
    mean_box_agreement: float
    same_box_count: int


def ask_oracle(asked: argparse.Namespace, examples: Sequence[Example]) -> list[oracle.OraclePicture]:
    """The oracle's answer about the first thing of every picture: it runs all passes again for every question."""
    backbone = find_backbone(asked.backbone)
    loaded = load(backbone, find_source(backbone, asked.pretrained or default_weights(backbone), None), 0)
    spec, known = named_spec(asked.spec).to_dict(), {field.name for field in fields(oracle.OracleSpec)}
    settings = oracle.OracleSpec(**{name: value for name, value in spec.items() if name in known})
    found = []
    for example in track(examples, "oracle", transient=True):
        with torch.no_grad():
            text = loaded.model.encode_text(loaded.tokenizer([f"a {example.things[0].noun}"]))[0]
        found.append(oracle.locate(loaded.model, example.pixels, text, settings, batch=asked.batch))
    return found


def compare(
    folder: str, examples: Sequence[Example], theirs: Sequence[oracle.OraclePicture], spec: str, device: Device = "cpu"
) -> Parity:
    """Ask a bundle the same and count what differs."""
    localizer = Localizer(folder, device=device, spec=named_spec(spec).replace(presence="any"))  # the oracle knows no margin
    flips, compared, same = 0, 0, 0
    mine_all, theirs_all = list[NDArray[np.float64]](), list[NDArray[np.float64]]()
    changes, overlaps, agreements = [], [1.0], []
    for example, wanted in zip(track(examples, f"{folder}, {device}", transient=True), theirs, strict=True):
        scene, queries = localizer.encode(example.pixels), [Query((f"a {example.things[0].noun}",))]
        texts = localizer.text.embed(queries)
        mine = localizer.answerer.answer(scene, queries, texts)[0]
        scores, _ = next(localizer.answerer.scores_and_maps(scene, texts))
        both = oracle.live(wanted.maps).numpy()
        relative = wanted.scores.double().numpy() - wanted.base_score
        flips += int(((scores > 0) != (relative > 0))[both].sum())
        compared += int(both.sum())
        mine_all.append(np.asarray(scores, np.float64)[both])
        theirs_all.append(relative[both])
        changes.append(np.abs(mine.saliency - wanted.saliency))
        agreements.append(box_agreement(mine.xyxy, wanted.xyxy))
        same += len(mine.xyxy) == len(wanted.xyxy)
        if len(mine.xyxy) and len(wanted.xyxy):
            overlaps.append(float(iou(mine.xyxy, wanted.xyxy).max(axis=1).min()))
    found, wanted_scores = np.concatenate(mine_all), np.concatenate(theirs_all)
    off, size = found - wanted_scores, spread(wanted_scores)
    return Parity(
        bundle=Path(folder).name,
        precision=localizer.precision,
        device=localizer.device,
        pictures=len(examples),
        compared=compared,
        flips=flips,
        relative_score_error=float(np.sqrt(np.mean(off**2))) / size,
        score_spread=spread(found) / size,
        largest_score_error=float(np.abs(off).max()),
        largest_saliency_error=max(float(change.max()) for change in changes),
        mean_saliency_error=float(np.mean([change.mean() for change in changes])),
        lowest_box_iou=min(overlaps),
        mean_box_agreement=float(np.mean(agreements)),
        same_box_count=same,
    )


def fault(one: Parity) -> str:
    """Why a bundle's scores are not what its precision can do; nothing where they are. Float32 is judged by its worst score."""
    return disagreement(one.precision, one.relative_score_error, one.largest_score_error, one.score_spread)


def show(found: Sequence[Parity]) -> None:
    """Print one column per bundle and device."""
    table = make_table("bundles against the oracle", ("", *(f"{one.bundle}, {one.precision}, {one.device}" for one in found)))
    for name in list(asdict(found[0]))[3:]:
        values = [getattr(one, name) for one in found]
        table.add_row(name.replace("_", " "), *(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values))
    wide_console().print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, run both sides, print and write; a device that is not there is told, and the others go on."""
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy.parity", description=(__doc__ or "").partition("\n\n")[2])
    add = parser.add_argument
    add("--backbone", default="demo-rn", help="as for export.build")
    add("--pretrained", help="as for export.build; the oracle's weights")
    add("--bundle", action="append", help="built from the same weights; may repeat (none: the backbone's own)")
    add("--device", action="append", help="cpu (also when left out), openvino, cuda, tensorrt; may repeat")
    add("--pictures", type=positive, default=100)
    add("--spec", choices=tuple(SPECS), default="default", help="the switches of the method")
    add("--batch", type=positive, default=32, help="the oracle's")
    add("--data", type=Path, default=PICTURES, help="a written test set")
    add("--json", type=Path, help="write the figures here")
    asked = parser.parse_args(arguments)
    examples = list(read_split(asked.data, "test"))[: asked.pictures]
    theirs = ask_oracle(asked, examples)
    found = []
    for bundle in asked.bundle or [asked.backbone]:
        for device in asked.device or ["cpu"]:
            try:
                found.append(compare(bundle, examples, theirs, asked.spec, device))
            except VlscoreError as error:
                print(f"{bundle} on {device}: not run: {error}")
    if found:
        show(found)
    if found and asked.json:
        write_text(asked.json, json.dumps([asdict(one) for one in found], indent=1) + "\n")
    faults = [f"{one.bundle} on {one.device}: {fault(one)}" for one in found if fault(one)]
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
