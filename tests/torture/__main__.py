"""`python -m tests.torture --seconds 60 --only pictures,scenes --seed 1`: damaged inputs until something gives way."""

from __future__ import annotations

import argparse
import itertools
import sys

from tests.torture.harness import kept, torture

SUBJECTS = ("pictures", "scenes", "bundles", "words", "arguments", "commands", "chaos")


def main(arguments: list[str] | None = None) -> int:
    """Replay what was found before, then try new cases; gives 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=40, help="for all subjects together")
    parser.add_argument("--only", default=",".join(SUBJECTS), help="subjects, separated by commas")
    parser.add_argument("--seed", type=int, default=1, help="another one makes other cases")
    options = parser.parse_args(arguments)
    subjects = options.only.split(",")
    if unknown := set(subjects) - set(SUBJECTS):
        parser.error(f"no such subject: {', '.join(sorted(unknown))}; choose from {', '.join(SUBJECTS)}")
    broken = 0
    for subject in subjects:
        numbers = itertools.chain(kept(subject), itertools.count(options.seed * 1_000_000_000))
        tried, finds = torture(subject, numbers, options.seconds / len(subjects), lambda line: print(line, flush=True))
        print(f"{subject}: {tried} cases, {len(finds)} finds")
        broken += len(finds)
    if broken:
        print("keep a find as a line of tests/torture/finds.txt: its first two words", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
