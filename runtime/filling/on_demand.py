"""What `Localizer("RN50")` does when there is no such bundle yet."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from engine.manifest import MANIFEST
from engine.methods import METHODS
from runtime.bundles import bundle_home, find_bundle, read_manifest
from runtime.errors import BundleError
from runtime.logs import tell


def find_with_methods(model: str | os.PathLike[str] | None, download: bool, methods: Iterable[object]) -> Path:
    """Find or fetch a bundle; one that was asked for by name is given the methods that it lacks, where they can be had."""
    folder = find_or_pull(model, download)
    wanted = [need for name in methods if isinstance(name, str) and name in METHODS for need in METHODS[name].needs]
    if wanted and isinstance(model, str) and folder.parent == bundle_home():
        from runtime.filling.methods import add_methods, have_templates

        manifest = read_manifest(folder)
        lacking = [name for name in wanted if name not in manifest.methods and METHODS[name].on(manifest.tower)]
        if lacking and have_templates(manifest):
            add_methods(folder, ",".join(lacking), tell)
    return folder


def find_or_pull(model: str | os.PathLike[str] | None, download: bool) -> Path:
    """Find a bundle; one of the catalogue that is not there yet is fetched, unless that is forbidden."""
    try:
        return find_bundle(model)
    except BundleError as missing:
        from runtime.filling.catalogue import catalogue, lookup  # here: most bundles are there, and need none of this
        from runtime.filling.hub import FORBID, allowed
        from runtime.filling.pull import pull

        entry = lookup(model) if isinstance(model, str) else None
        if entry is None or model is None:
            near = difflib.get_close_matches(str(model), [each.name for each in catalogue()], n=3, cutoff=0.6)
            if near and os.sep not in str(model):
                raise BundleError(
                    f"{missing}\nor did you mean {', '.join(near)}, which can be fetched? `vlscore models` lists all"
                ) from missing
            raise
        there = bundle_home() / entry.name
        if (there / MANIFEST).is_file():
            return there
        if not download or not allowed():
            why = f"{FORBID}=0" if download else "`download=False`"
            raise BundleError(
                f"no bundle `{entry.name}` in {there.parent}, and {why} forbids fetching it; make it with "
                f"`vlscore pull {entry.name}` ({entry.repository}, about {entry.megabytes} MB, licence: {entry.licence})"
            ) from missing
        return pull(entry.name)
