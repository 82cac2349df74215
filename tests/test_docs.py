"""The documents: links lead somewhere, commands exist, the README stays short and its table is the record's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.configs import ROOT

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), ROOT / "docs" / "examples" / "README.md"]
FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
COMMAND = re.compile(r"python -m ((?:bench|engine|export|runtime)(?:\.\w+)*)")
ROW = re.compile(r"^\| (?!\|).*\|$", re.MULTILINE)  # of a table, but not its head, which begins with an empty cell

MOST_LINES = 150
MOST_ROWS = 6


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def between(text: str, name: str) -> str:
    """What stands between the markers of a table."""
    return text.partition(f"<!-- {name}:begin -->")[2].partition(f"<!-- {name}:end -->")[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_are_there(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name} links to `{link}`, which is not there"
        assert not anchor or anchor in anchors(target), f"{page.name} links to `{link}`, a heading that is not there"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page: Path) -> None:
    for module in COMMAND.findall(page.read_text(encoding="utf-8")):
        place = ROOT.joinpath(*module.split("."))
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), f"{page.name}: no `python -m {module}`"


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MOST_LINES


def test_the_readme_shows_rows_of_the_whole_table() -> None:
    rows = ROW.findall(between(README.read_text(encoding="utf-8"), "speed"))
    whole = ROW.findall(between((ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8"), "speed-all"))
    assert 0 < len(rows) <= MOST_ROWS
    assert set(rows) <= set(whole)


def test_troubleshooting_is_keyed_by_messages_that_there_are() -> None:
    """What stands first in its lines is what somebody searches for: it must be in the code."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8").partition("## The command line")[0]
    entries = [line[2:].partition(": ")[0] for line in re.findall(r"^\* `.*", text, re.MULTILINE)]
    messages = [key.strip("` ") for entry in entries for key in re.split(r"`, `", entry)]
    code = " ".join(path.read_text(encoding="utf-8") for room in ("engine", "runtime") for path in (ROOT / room).rglob("*.py"))
    joined = re.sub(r'"\s+f?"', "", code)  # sentences that were broken into lines
    assert len(messages) > 15
    assert [message for message in messages if message not in joined] == []
