"""The command: options in; a table, a record and a figure out."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.command_line import positive, refusals
from bench.compare.command import REFUSED
from bench.compare.machine import describe
from bench.compare.options import PICTURE
from bench.compare.report import short
from bench.growth import curves
from bench.growth.bundles import BATCHES, build_sizes
from bench.growth.curves import Curve
from runtime import Localizer
from runtime.pictures import read_picture
from runtime.threads import default_threads

CURVES = ("maps", "pictures", "queries", "batch", "threads")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description="Measure how seconds grow with the work.")
    parser.add_argument("--model", help="a bundle's name or folder (none: the one shipped)")
    parser.add_argument("--device", default="cpu", help="where its graphs run")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="picture to encode")
    parser.add_argument("--curves", nargs="+", choices=CURVES, default=CURVES, help="which ones (default: all)")
    parser.add_argument("--pictures", type=positive, default=4, help="most pictures in one stream")
    parser.add_argument("--queries", type=positive, default=1024, help="most queries")
    parser.add_argument("--bundles", nargs="+", help="bundles of several batch sizes (none: small random ones are built)")
    parser.add_argument("--json", type=Path, help="write the record to this file")
    parser.add_argument("--plot", type=Path, help="draw the curves into this file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a refusal is one line on stderr and exit code 1."""
    options = parse(arguments)
    with refusals(*REFUSED):
        run(options, Console(highlight=False))


def run(options: argparse.Namespace, console: Console) -> list[Curve]:
    """Measure the curves that were asked for, print them, write the files."""
    localizer = Localizer(options.model, device=options.device)
    found = []
    with Console(stderr=True).status("starting") as status, tempfile.TemporaryDirectory(prefix="vlscore-growth-") as folder:
        for name in (name for name in CURVES if name in options.curves):
            status.update(f"{name}")
            found.append(one(name, localizer, options, Path(folder)))
    console.print(table(localizer, found))
    machine = describe(default_threads())
    record = {
        "machine": machine,
        "model": localizer.manifest.backbone,
        "device": localizer.device,
        "precision": localizer.manifest.precision,
        "batch": localizer.manifest.batch,
        "curves": [curve.to_dict() for curve in found],
    }
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        from bench.growth.plot import draw  # here: a run without a plot needs no matplotlib

        draw(found, f"{localizer.manifest.backbone} on {machine['processor']}", options.plot)
    return found


def one(name: str, localizer: Localizer, options: argparse.Namespace, folder: Path) -> Curve:
    """Measure one curve."""
    picture = read_picture(options.picture)
    if name == "maps":
        return curves.maps_curve(localizer, picture)
    if name == "pictures":
        return curves.pictures_curve(localizer, picture, options.pictures)
    if name == "queries":
        return curves.queries_curve(localizer, picture, options.queries)
    if name == "batch":
        models = options.bundles or build_sizes(folder, BATCHES, lambda step: None)
        return curves.batch_curve([Localizer(model, device=options.device) for model in models], picture)
    return curves.threads_curve(
        lambda threads: Localizer(options.model, device=options.device, threads=threads), picture, default_threads()
    )


def table(localizer: Localizer, found: Sequence[Curve]) -> Table:
    """First and last point of each curve, what one more unit costs, and the exponent."""
    shown = Table(
        title=f"{localizer.manifest.backbone} on {localizer.device}: how seconds grow", box=SIMPLE_HEAD, title_justify="left"
    )
    for name in ("with", "from", "to", "s at first", "s at last", "ms per unit", "exponent"):
        shown.add_column(name, justify="left" if name == "with" else "right", no_wrap=True)
    for curve in found:
        ends = (str(curve.amounts[0]), str(curve.amounts[-1]), short(curve.seconds[0].median), short(curve.seconds[-1].median))
        shown.add_row(curve.unit, *ends, short(1000 * curve.per_unit) if curve.per_unit > 0 else "", f"{curve.exponent:.2f}")
    return shown
