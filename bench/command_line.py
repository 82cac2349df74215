"""What the commands share: how options are read, and how a refusal is told."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number above 0")
    return int(text)


def several(kind: str, known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Reads names with commas between, each a known one of its kind."""

    def read(text: str) -> tuple[str, ...]:
        found = tuple(name.strip() for name in text.split(","))
        unknown = [name for name in found if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{kind} `{unknown[0]}` is unknown: choose from {', '.join(known)}")
        return found

    return read


@contextmanager
def told_errors(*kinds: type[Exception]) -> Iterator[None]:
    """An error of these kinds is one line on stderr and exit code 1; any other is a fault of ours, and shows its trace."""
    try:
        yield
    except kinds as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
