"""Looking over all bundles of this machine: what they are, and whether their files are whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.manifest import MANIFEST, Manifest
from runtime.bundles import SHIPPED, bundle_home, open_bundle, parse_manifest, read_manifest_bytes
from runtime.errors import BundleError, DeviceError
from runtime.measurements import advice


@dataclass(frozen=True)
class BundleReport:
    """One bundle on disk; `fault` says what is wrong with it, and is empty when nothing was found."""

    name: str
    folder: str
    shipped: bool
    backbone: str = ""
    weights: str = ""
    trained: bool = False
    precision: str = ""
    bytes: int = 0
    scenes_only: bool = False  # the image half is not there: saved scenes can be asked, pictures cannot
    verified: bool = False
    sha256: str = ""  # of the manifest, which pins the whole bundle: `Localizer(NAME, sha256=...)`
    fault: str = ""
    tuned: str = ""  # what `auto` follows: what was measured here, or why nothing was


def bundles(verify: bool) -> list[BundleReport]:
    """Every bundle, built ones first; `verify` hashes all files instead of only comparing their sizes."""
    return [examine(folder, verify) for folder in folders()]


def folders() -> Iterator[Path]:
    """Folders with a manifest, without the hidden ones in which bundles are being built."""
    for home in (bundle_home(), SHIPPED):
        yield from sorted(path.parent for path in home.glob(f"*/{MANIFEST}") if not path.parent.name.startswith("."))


def examine(folder: Path, verify: bool) -> BundleReport:
    """Look at one bundle."""
    named = (folder.name, str(folder), folder.parent == SHIPPED)
    try:
        data = read_manifest_bytes(folder)
        manifest = parse_manifest(data, folder)
    except BundleError as error:
        return BundleReport(*named, fault=str(error))
    scenes_only = not any((folder / name).exists() for name in manifest.image_files)
    return BundleReport(
        *named,
        backbone=manifest.backbone,
        weights=manifest.weights.tag,
        trained=manifest.weights.trained,
        precision=manifest.precision,
        bytes=sum(file.bytes for file in manifest.files.values()),
        scenes_only=scenes_only,
        verified=verify,
        sha256=hashlib.sha256(data).hexdigest(),
        fault=fault_of(folder, manifest, scenes_only, verify),
        tuned=tuned(manifest),
    )


def tuned(manifest: Manifest) -> str:
    """What was measured for a bundle on this machine; a bad threads setting is told with the machine."""
    try:
        return advice(manifest).reason
    except DeviceError:
        return ""


def fault_of(folder: Path, manifest: Manifest, scenes_only: bool, verify: bool) -> str:
    """What is wrong with a bundle's files; empty when they are whole, as far as was looked."""
    if verify:
        try:
            open_bundle(folder, scenes_only=scenes_only)
        except (BundleError, OSError) as error:
            return str(error)
        return ""
    for name in manifest.text_files if scenes_only else manifest.files:
        path, expected = folder / name, manifest.files[name].bytes
        if not path.is_file():
            return f"`{name}` is missing; build it again: {rebuild(folder, manifest)}"
        if path.stat().st_size != expected:
            return f"`{name}` has {path.stat().st_size} bytes instead of {expected}; build it again: {rebuild(folder, manifest)}"
    return ""


def rebuild(folder: Path, manifest: Manifest) -> str:
    """The command that makes a bundle anew."""
    return f"`python -m export.build --backbone {manifest.backbone} --force --out {folder}`"
