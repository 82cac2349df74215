"""A bundle's place on disk: filled in a hidden folder beside it, renamed when whole, never half there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from engine.manifest import MANIFEST, Manifest
from runtime.errors import BundleError, WeightsError
from runtime.files import write_atomically

PART = ".filling"  # never `.part`: builds clear those away when no build holds their lock


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give a folder to fill; when the block ends well it becomes the target, in the place of a bundle that is there.

    Several processes may fill the same target at once: each has a folder of its own, and the last one stays.
    """
    if target.exists() and any(target.iterdir()) and not (target / MANIFEST).is_file():
        raise BundleError(f"`{target}` exists and is not a bundle; choose another place, or remove it yourself")
    target.parent.mkdir(parents=True, exist_ok=True)
    with beside(target) as part:
        yield part
        part.chmod(0o755)
        move(part, target)


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """A hidden folder for new files, on the target's disk, which is gone afterwards; what killed processes left goes first."""
    sweep(target)
    part = Path(tempfile.mkdtemp(prefix=f".{target.name}.{os.getpid()}.", suffix=PART, dir=target.parent))
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def move(part: Path, target: Path) -> None:
    """Put a folder in the target's place; what was there is moved aside first, since a folder cannot be replaced at once."""
    old = part.with_suffix(".old")
    with contextlib.suppress(FileNotFoundError):
        os.replace(target, old)
    try:
        os.replace(part, target)
    except OSError:
        if not (target / MANIFEST).is_file():  # else another process was quicker, with the same bundle
            raise
    shutil.rmtree(old, ignore_errors=True)


def check_free(target: Path, needed: float, what: str, variable: str) -> None:
    """Refuse to begin where there is no room."""
    place = next(folder for folder in (target, *target.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise WeightsError(
            f"`{place}` has {free / 1e6:.0f} MB free, and {what} {needed / 1e6:.0f} MB; free some space, or set {variable} "
            "to another disk"
        )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a bundle's manifest, whole or not at all."""
    write_atomically(folder / MANIFEST, f"{json.dumps(manifest.to_dict(), indent=1)}\n".encode())


def sweep(target: Path) -> None:
    """Remove what killed processes left beside a target."""
    for kind in (PART, ".old"):
        for left in target.parent.glob(f".{target.name}.*{kind}"):
            owner = left.name.removeprefix(f".{target.name}.").split(".")[0]
            if owner.isdecimal() and not alive(int(owner)):
                shutil.rmtree(left, ignore_errors=True)


def alive(process: int) -> bool:
    """Whether a process is running; one that is not ours to ask is."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
