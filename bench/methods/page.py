"""One picture, a panel for each method that a bundle has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.methods import askable
from runtime import Localizer
from runtime.bundles import find_bundle, read_manifest
from runtime.drawing import draw, write_picture
from runtime.pictures import read_picture


def draw_page(model: str, picture: Path, queries: Sequence[str], out: Path) -> Path:
    """Draw where each method finds the first query; the others compete with it."""
    pixels, manifest = read_picture(picture), read_manifest(find_bundle(model))
    panels = []
    for name in askable(manifest.methods, manifest.tower):
        localizer = Localizer(model, method=name)
        found = localizer.locate(localizer.encode(pixels), list(queries))[0]
        panels.append(replace(found, query=name))
    return write_picture(out, draw(pixels, panels))
