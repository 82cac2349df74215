"""Putting a bundle where it belongs: built in a temporary folder beside it, renamed when whole, never half there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from engine.manifest import MANIFEST
from runtime.errors import VlscoreError


class StoreError(VlscoreError, OSError):
    """The place for a bundle cannot be used."""


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Let one build at a time work on a target; a second one waits. What killed builds left is cleared away."""
    if is_foreign(target):
        raise StoreError(f"`{target}` exists and is not a bundle; choose another `--out`, or remove it yourself")
    with writing(target, "the bundle", "`--out`"):
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent)
        with FileLock(beside(target, "lock")):
            recover(target)
            yield


@contextlib.contextmanager
def writing(target: Path, what: str, place: str) -> Iterator[None]:
    """Say it in one sentence when something cannot be written: no permission, no space, a disk that is read-only."""
    try:
        yield
    except VlscoreError:
        raise
    except OSError as error:
        raise StoreError(
            f"{what} cannot be written to `{target}` ({error.strerror or error}); choose another {place}, or make room"
        ) from error


@contextlib.contextmanager
def new_bundle(target: Path) -> Iterator[Path]:
    """Give a fresh folder to build in; when the block ends well it becomes the target, else it is gone."""
    part, old = beside(target, "part"), beside(target, "old")
    part.mkdir()
    try:
        yield part
        if target.exists():
            os.replace(target, old)
        os.replace(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Clear away what killed builds of other targets left in a folder; one that is being built holds its lock."""
    for part in folder.glob(".*.part"):
        target = folder / part.name.removeprefix(".").removesuffix(".part")
        with contextlib.suppress(Timeout, OSError), FileLock(beside(target, "lock"), timeout=0):
            recover(target)


def is_foreign(target: Path) -> bool:
    """Whether something that is no bundle lies there; one look, since another build may move the target meanwhile."""
    try:
        names = [path.name for path in target.iterdir()]
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return True
    return bool(names) and MANIFEST not in names


def recover(target: Path) -> None:
    """Undo what a killed build may have left: half-built folders, or a target moved aside and not yet replaced."""
    part, old = beside(target, "part"), beside(target, "old")
    shutil.rmtree(part, ignore_errors=True)
    if old.exists() and not target.exists():
        os.replace(old, target)
    shutil.rmtree(old, ignore_errors=True)


def beside(target: Path, kind: str) -> Path:
    """The hidden neighbour of a target."""
    return target.parent / f".{target.name}.{kind}"


def built_from(target: Path) -> str:
    """The inputs' hash of the bundle that is there, or nothing."""
    try:
        return str(json.loads((target / MANIFEST).read_text(encoding="utf-8")).get("inputs_hash", ""))
    except (OSError, ValueError):
        return ""
