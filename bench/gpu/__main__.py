"""`python -m bench.gpu bundles|reference|engines|measure|pack`: one step each; every one goes on where it was cut off."""

from __future__ import annotations

import argparse
import json
import sys
import time
from argparse import Namespace
from importlib import import_module
from pathlib import Path

from bench.gpu import check, rtx
from bench.gpu.measure import measure, run_group
from bench.gpu.plan import BATCH, KNOWING, PRECISIONS, Group
from engine.manifest import MANIFEST
from runtime.bundles import read_manifest
from runtime.devices import open_backend
from runtime.errors import VlscoreError

FOLDER = Path("out/gpu")
COMPARED = 16  # passes per picture that a build holds against PyTorch; the card's own answers are compared again


def build_bundles(asked: Namespace) -> int:
    """Build what is not there, the most useful first: a build leaves what is up to date, and half of one is gone."""
    build = import_module("export.build")  # needs PyTorch, which takes long to load: one process for all
    for precision in PRECISIONS:
        for backbone in dict.fromkeys((asked.backbone, KNOWING)):
            options = build.BuildOptions(precision=precision, batch=asked.batch, compare=COMPARED)
            weights = "" if backbone.startswith("demo-") else asked.pretrained
            build.run(backbone, weights, options, asked.folder / "bundles" / f"{backbone}-{precision}", force=False)
    return 0


def write_references(asked: Namespace) -> int:
    """Ask the float32 bundles on the processor."""
    reference = import_module("bench.gpu.reference")  # needs PyTorch
    for backbone in dict.fromkeys((asked.backbone, KNOWING)):
        reference.write_reference(asked.folder / "bundles" / f"{backbone}-fp32", asked.folder / "reference" / backbone, backbone)
        print(f"the answers of {backbone} are there", flush=True)
    return 0


def build_engines(asked: Namespace) -> int:
    """Build the TensorRT engine of every graph, as `device="tensorrt"` will look for them; those that there are are kept."""
    trial = asked.device == ["cpu"]
    if not trial and not check.there("tensorrt"):
        print("`tensorrt` is missing: TensorRT is left out.")
        return 0
    backend, end = open_backend("cpu" if trial else "tensorrt"), time.monotonic() + 60 * asked.minutes
    for bundle in sorted(path.parent for path in (asked.folder / "bundles").glob(f"*/{MANIFEST}")):
        for graph in read_manifest(bundle).graphs.values():
            if time.monotonic() > end:
                print(f"the {asked.minutes:g} minutes are over; run this again to go on")
                return 1
            began = time.perf_counter()
            backend.open(bundle / graph.file)
            print(f"{bundle.name}/{graph.file}: {time.perf_counter() - began:.1f} s", flush=True)
    return 0


def measure_groups(asked: Namespace) -> int:
    """Measure what is not in the record; 1 where something failed or is off."""
    have = {"tensorrt": check.there("tensorrt"), "tensorrt-rtx": rtx.there()}
    devices = tuple(device for device in asked.device if have.get(device, True))
    return min(1, measure(asked.folder, asked.backbone, devices, asked.minutes, lambda line: print(line, flush=True)))


def measure_one(asked: Namespace) -> int:
    """In a process of its own: one group, its figures in the last line."""
    print(json.dumps(run_group(asked.folder, Group(**json.loads(asked.group)))))
    return 0


def pack_all(asked: Namespace) -> int:
    """Everything into one folder to carry."""
    return int(import_module("bench.gpu.pack").pack(asked.folder, asked.out, asked.part, asked.wheels))


STEPS = {
    "bundles": build_bundles,
    "reference": write_references,
    "engines": build_engines,
    "measure": measure_groups,
    "group": measure_one,
    "pack": pack_all,
}


def main() -> int:
    """Run a step."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    add = parser.add_argument
    add("step", choices=STEPS)
    add("--folder", type=Path, default=FOLDER, help="bundles, reference and record lie here")
    add("--backbone", default="RN50", help="what is timed; precisions are judged on demo-rn besides")
    add("--pretrained", default="none", help="as for export.build: seeded random weights")
    add("--device", action="append", help="cuda, tensorrt, tensorrt-rtx (all when left out), or cpu: to try it without a card")
    add("--batch", type=int, help=f"masked passes per run (left out: {BATCH['cuda']}, on a processor {BATCH['cpu']})")
    add("--minutes", type=float, default=7.0, help="after which no further group is begun; the next run goes on")
    add("--out", type=Path, default=Path("out/gpu-pack"), help="pack: the folder to carry")
    add("--part", type=int, default=60, help="pack: MiB of each part")
    add("--wheels", default="3.12", help="pack: the Python that the wheels are for")
    add("--group", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.device = asked.device or ["cuda", "tensorrt", "tensorrt-rtx"]
    asked.batch = asked.batch or BATCH[asked.device[0]]
    try:
        return STEPS[asked.step](asked)
    except VlscoreError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
