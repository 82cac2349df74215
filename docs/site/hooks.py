"""Pages and files outside `docs/` that the documents link to become part of the site, under `source/`; folders stay words."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent.parent
SOURCE = "source/"
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Any, config: Any) -> Any:  # noqa: ANN401 - mkdocs' own
    """Add whatever the pages link to outside `docs/`, and whatever those pages link to."""
    waiting = [file.src_uri for file in files.documentation_pages()]
    while waiting:
        page = waiting.pop()
        for link in LINK.finditer(source_of(page).read_text(encoding="utf-8")):
            place = resolved(page, link[3])
            if place is None or not place.startswith(SOURCE) or files.get_file_from_path(place) or not source_of(place).is_file():
                continue
            files.append(File.generated(config, place, abs_src_path=str(source_of(place))))
            if place.endswith(".md"):
                waiting.append(place)
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:  # noqa: ANN401 - mkdocs' own
    """Turn links that leave `docs/` to where their targets are in the site."""
    here = page.file.src_uri

    def turned(link: re.Match[str]) -> str:
        place = resolved(here, link[3])
        if place is None:
            return link[0]
        if place.startswith(SOURCE) and not source_of(place).is_file():
            return link[2]
        return f"{link[1]}[{link[2]}]({posixpath.relpath(place, posixpath.dirname(here))}{link[4] or ''})"

    return LINK.sub(turned, markdown)


def source_of(place: str) -> Path:
    """The file behind a place in the site."""
    return ROOT / place.removeprefix(SOURCE) if place.startswith(SOURCE) else ROOT / "docs" / place


def resolved(page: str, link: str) -> str | None:
    """The place in the site that a page's link leads to; None for addresses elsewhere."""
    if re.match(r"[a-z]+:", link):
        return None
    own = page.removeprefix(SOURCE) if page.startswith(SOURCE) else f"docs/{page}"
    target = posixpath.normpath(posixpath.join(posixpath.dirname(own), link))
    return target.removeprefix("docs/") if target.startswith("docs/") else SOURCE + target
