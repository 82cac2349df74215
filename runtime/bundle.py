"""Opening a bundle: read its manifest, and check every file that will be used before anything is loaded from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from engine.manifest import MANIFEST, Manifest, ManifestError
from runtime.errors import BundleError


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
