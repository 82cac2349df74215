"""The bundles of this machine: where they live, finding one by name, opening it verified, and looking them all over."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.manifest import MANIFEST, Manifest, ManifestError
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
    for folder in (Path(asked).expanduser(), *(each / asked for each in homes)):
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
    there = sorted({entry.parent.name for each in homes for entry in each.glob(f"*/{MANIFEST}")})
    near = difflib.get_close_matches(asked, there, n=3, cutoff=0.4)
    lines = [f"no bundle named `{asked}` in {homes[0]}" + (f"; there are {', '.join(there)}" if there else "")]
    if near:
        lines.append(f"did you mean {', '.join(near)}?")
    lines.append(f"build it (this needs the `export` extra): python -m export.build --backbone {asked}")
    return "\n".join(lines)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle: its manifest and the folder that its files are in."""

    folder: Path
    manifest: Manifest

    def graph(self, name: str) -> Path:
        """The file of a graph."""
        return self.folder / self.manifest.graphs[name].file

    def file(self, name: str) -> Path:
        """Any other file of the bundle."""
        return self.folder / name


def open_bundle(folder: Path, *, scenes_only: bool = False) -> Bundle:
    """Open a bundle; with `scenes_only` the image half may be missing, since saved scenes do not need it."""
    manifest = read_manifest(folder)
    names: Iterable[str] = manifest.text_files if scenes_only else manifest.files
    for name in names:
        check_file(folder, name, manifest)
    return Bundle(folder, manifest)


def read_manifest(folder: Path) -> Manifest:
    """Read and validate a bundle's `manifest.json`."""
    path = folder / MANIFEST
    try:
        return Manifest.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BundleError(f"bundle `{folder}` has no {MANIFEST}; build it again") from None
    except (ManifestError, ValueError, OSError) as error:
        raise BundleError(f"bundle `{folder}`: {MANIFEST} cannot be used: {error}\n{repair('NAME', folder)}") from None


def check_file(folder: Path, name: str, manifest: Manifest) -> None:
    """Compare one file with the size and the hash that the manifest has for it."""
    path, known = folder / name, manifest.files[name]
    cure = repair(manifest.backbone, folder)
    if not path.is_file():
        raise BundleError(f"bundle `{folder}` lacks `{name}`; {cure}")
    size = path.stat().st_size
    if size != known.bytes:
        raise BundleError(f"bundle `{folder}`: `{name}` has {size} bytes instead of {known.bytes} (truncated?); {cure}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != known.sha256:
        raise BundleError(f"bundle `{folder}`: `{name}` was altered after it was built (its hash differs); {cure}")


def repair(backbone: str, folder: Path) -> str:
    """The command that makes a bundle anew."""
    return f"build it again: `python -m export.build --backbone {backbone} --force --out {folder}`"
