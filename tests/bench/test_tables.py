"""The tables of docs/methods.md are those of the records."""

from __future__ import annotations

import pytest

from bench.methods.__main__ import PAGE, RESULTS
from bench.methods.tables import with_lines, with_tables


def test_the_page_shows_what_the_records_hold() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_tables(text, RESULTS) == text, "run python -m bench.methods tables"


def test_markers_must_be_there() -> None:
    assert with_lines("a <!-- x:begin --> old <!-- x:end --> b", "x", ["new"]) == "a <!-- x:begin -->\n\nnew\n\n<!-- x:end --> b"
    with pytest.raises(ValueError, match="must hold `<!-- y:begin -->`"):
        with_lines("nothing", "y", [])
