"""`python -m bench.evaluate.tables [NAME]`: the command for every published table, what it should give, and how long it takes.

Hours are passes over measured passes a second of RN50, other models by their arithmetic. None of these has been run here: the
pictures are not ours to ship.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

from bench.compare.record import read_record
from bench.evaluate.published import TABLES, Table
from bench.terminal import expected_errors, wide_console

RECORD = Path(__file__).parents[1] / "results" / "compare-rn50.json"
PICTURES = {"imagenet": 50_000, "cocoglide": 512, "voc": 1_464, "coco": 4_952, "openimages": 5_000}
MAPS = {"RN50": 2048, "RN101": 2048, "ViT-B-16": 48}
GFLOPS = {"RN50": 12.2, "RN101": 19.7, "ViT-B-16": 35.2}  # a pass, two operations to a multiplication with its sum


def measured(file: Path) -> dict[str, float]:
    """Passes of RN50 a second (median) of our own ways through every map, in a record of `bench.compare`."""
    record = read_record(file)
    ours = [one for one in record["contenders"] if one["ours"] and one["computes"] == "every map" and one["precision"] != "int8"]
    cores = record["machine"]["cores"]
    return {f"{cores} cores, {one['precision']}": median(one["passes_per_s"]) for one in ours if one["passes_per_s"]}


def hours(command: str, rate: float) -> float:
    """How long a command takes at a rate of RN50 passes a second; a method other than the default takes one pass a picture.

    Judging a picture takes one core some 0.03 s, and 0.4 s where a grid is searched.
    """
    words = command.split()
    pictures = 10_000 if "10000" in words or "200" in words else PICTURES.get(words[0], 1)
    model = words[words.index("--model") + 1]
    passes = 1 if "--method" in words else MAPS[model] + 1
    judged = 0.4 if "grid" in command else 0.03
    return pictures * (passes * GFLOPS[model] / GFLOPS["RN50"] / rate + judged) / 3600


def lines_of(name: str, table: Table, rates: dict[str, float]) -> list[str]:
    """A table's commands with what they should give, and their hours at rates of RN50 passes a second."""
    found = [f"## {table.title}", ""]
    for place, (words, command, expected) in enumerate(table.commands):
        out = f"--root FOLDER --out out/{name}-{place}"
        whole = command if command.startswith("python") else f"python -m bench.evaluate {command} {out}"
        times = ", ".join(
            f"{hours(command, rate):,.3g} h on {where} ({rate:,.0f} RN50 passes/s)" for where, rate in rates.items()
        )
        found += [f"{words}: expected {expected}; {times}; **not yet run here**", "", f"    {whole}", ""]
    return [*found, *([table.note, ""] if table.note else [])]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m bench.evaluate.tables", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("name", nargs="?", choices=tuple(TABLES), help="one table (none: all)")
    parser.add_argument("--rate", type=float, help="RN50 passes a second of your machine (none: the record of bench.compare)")
    asked = parser.parse_args()
    with expected_errors(FileNotFoundError, ValueError):
        rates = {"your machine": asked.rate} if asked.rate else measured(RECORD)
    for name, table in TABLES.items():
        if asked.name in (None, name):
            wide_console().print("\n".join(lines_of(name, table, rates)), markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
