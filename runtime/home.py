"""Where bundles live, and how a model's name becomes a folder."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from engine.manifest import MANIFEST
from runtime.errors import BundleError

DEFAULT_MODEL = "demo-rn"
SHIPPED = Path(__file__).parent / "models"


def bundle_home() -> Path:
    """The folder of built bundles: `$VLSCORE_HOME`, else `vlscore/bundles` in the platform's cache folder."""
    chosen = os.environ.get("VLSCORE_HOME")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs  # here: only needed when a name is looked up

    return Path(platformdirs.user_cache_dir("vlscore")) / "bundles"


def bundle_name(backbone: str, tag: str, precision: str) -> str:
    """The folder name of a build: plain for OpenAI's weights in fp32, else with what differs."""
    tag = Path(tag).stem if tag != "none" else "random"
    parts = [backbone, *([] if tag in ("openai", backbone) else [tag]), *([] if precision == "fp32" else [precision])]
    return "-".join(part.replace("/", "-").replace(":", "-") for part in parts)


def find_bundle(model: str | os.PathLike[str] | None, home: Path | None = None) -> Path:
    """Find a bundle by folder or by name, first among the built ones, then among those shipped with the package."""
    asked = os.fspath(model) if model is not None else DEFAULT_MODEL
    homes = [home or bundle_home(), SHIPPED]
    for folder in (Path(asked).expanduser(), *(place / asked for place in homes)):
        if (folder / MANIFEST).is_file():
            return folder
    if isinstance(model, os.PathLike) or Path(asked).is_dir() or os.sep in asked:
        raise BundleError(
            f"`{asked}` is not a bundle: it has no {MANIFEST}. Build one with "
            f"`python -m export.build --backbone RN50 --out {asked}`"
        )
    raise BundleError(unknown(asked, homes))


def unknown(asked: str, homes: list[Path]) -> str:
    """Say what was looked for, where, what is there, and how to build it."""
    there = sorted({entry.parent.name for place in homes for entry in place.glob(f"*/{MANIFEST}")})
    near = difflib.get_close_matches(asked, there, n=3, cutoff=0.4)
    lines = [f"no bundle named `{asked}` in {homes[0]}" + (f"; there are {', '.join(there)}" if there else "")]
    if near:
        lines.append(f"did you mean {', '.join(near)}?")
    lines.append(f"build it (this needs the `export` extra): python -m export.build --backbone {asked}")
    return "\n".join(lines)
