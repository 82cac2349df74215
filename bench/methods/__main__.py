"""`python -m bench.methods world|speed|tables|page|authors ...`: every method that a bundle has, on the same pictures."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.methods import authors, page, speed, tables, world
from bench.terminal import positive
from runtime.machine import look
from runtime.threads import default_threads

RESULTS = Path(__file__).parent.parent / "results"
PAGE = RESULTS.parents[1] / "docs" / "methods.md"


def main() -> None:
    """Run what was asked for; measurements leave a record."""
    parser = argparse.ArgumentParser(prog="python -m bench.methods", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, told in (("world", "what they find in the emoji world"), ("speed", "milliseconds per picture and per question")):
        measured = commands.add_parser(name, help=told)
        asked = "a bundle that the methods were added to" if name == "world" else "a backbone, which gets seeded weights"
        measured.add_argument("--model", required=True, help=asked)
        measured.add_argument("--methods", default="", help="names with commas between; all that the bundle has")
        measured.add_argument("--limit", type=positive, default=100 if name == "world" else 7, help="pictures, or rounds")
        measured.add_argument("--record", type=Path, help="the record's file; else in bench/results")
        if name == "speed":
            measured.add_argument("--authors", type=Path, help="clones of the authors' repositories, whose code is timed beside")
        if name == "world":
            measured.add_argument("--affinity", action="store_true", help="spread maps to patches that belong together")
    drawn = commands.add_parser("page", help="one picture, a panel for each method")
    drawn.add_argument("model")
    drawn.add_argument("picture", type=Path)
    drawn.add_argument("query", nargs="+", help="the first is drawn; the others compete with it")
    drawn.add_argument("--out", type=Path, default=Path("methods.jpg"))
    commands.add_parser("tables", help="write the records into docs/methods.md")
    compared = commands.add_parser("authors", help="features of the authors' own code beside ours")
    compared.add_argument("folder", type=Path, help="clones of their repositories")
    options = parser.parse_args()
    if options.command == "authors":
        print(*authors.differences(options.folder), sep="\n")
        return
    if options.command == "tables":
        PAGE.write_text(tables.with_tables(PAGE.read_text(encoding="utf-8"), RESULTS), encoding="utf-8")
        return
    if options.command == "page":
        print(page.draw_page(options.model, options.picture, options.query, options.out))
        return
    chosen = tuple(filter(None, options.methods.split(",")))
    record = options.record or RESULTS / f"methods-{options.command}-{Path(options.model).name}.json"
    if options.command == "world":
        for row in world.measure(options.model, chosen, options.limit, options.affinity):
            keep(record, vars(options), [row])  # at once: a run that is ended keeps what it has found
    else:
        keep(record, vars(options), speed.measure(options.model, chosen, options.limit, options.authors))


def keep(path: Path, options: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write a record; rows that an earlier run of other methods left there stay."""
    before = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.is_file() else []
    keys = {(row["method"], row.get("asked")) for row in rows}
    record = {
        "measured": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "model": Path(options["model"]).name,
        "limit": options["limit"],
        "machine": look().processor,
        "threads": default_threads(),
        "rows": [row for row in before if (row["method"], row.get("asked")) not in keys] + rows,
    }
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(path, *(row["method"] for row in rows), flush=True)


if __name__ == "__main__":
    main()
