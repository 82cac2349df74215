"""The words of the world and the emoji that show them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

TABLE = Path(__file__).with_name("nouns.txt")


@cache
def glyphs() -> dict[str, tuple[int, ...]]:
    """Every noun with the code points that show it, in the order of the table."""
    found: dict[str, tuple[int, ...]] = {}
    for line in TABLE.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") or not line.strip():
            continue
        noun, codes = line.split(" = ")
        if noun in found:
            raise ValueError(f"`{noun}` stands twice in {TABLE.name}: keep one line per noun")
        found[noun] = tuple(int(code, 16) for code in codes.split())
    return found


@cache
def nouns() -> tuple[str, ...]:
    """All nouns; the position of a noun in this tuple is its class number."""
    return tuple(glyphs())


def number(noun: str) -> int:
    """The class number of a noun."""
    return nouns().index(noun)
