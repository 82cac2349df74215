"""Where `locate` writes: drawn pictures, scenes and JSON, planned and checked before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from runtime.cli.inputs import DRAWN_SUFFIX, SCENE_SUFFIX, is_picture, is_scene

DRAWABLE = (".png", ".jpg", ".jpeg", ".webp")
STDOUT = "-"


@dataclass(frozen=True)
class OutputFiles:
    """Files to write: a drawn picture and a scene per input, and one JSON file, or `-` for stdout."""

    drawn: dict[Path, Path]
    scenes: dict[Path, Path]
    json: str | None

    def files(self) -> list[Path]:
        """Every file that will be written."""
        return [*self.drawn.values(), *self.scenes.values(), *([Path(self.json)] if self.json not in (None, STDOUT) else [])]

    def prepare(self) -> None:
        """Make the folders, so that a place that cannot be written to is told now and not after minutes."""
        for folder in dict.fromkeys(path.parent for path in self.files()):
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(13, "this folder cannot be written to", str(folder))


def plan(sources: Sequence[Path], out: Path | None, scenes: Path | None, json: str | None) -> OutputFiles:
    """Name every file to write; raises a usage error where one would replace an input or does not fit."""
    stems = unique_stems(sources)
    drawn: dict[Path, Path] = {}
    if out is not None and is_folder(out, len(sources)):
        drawn = {source: out / f"{stem}{DRAWN_SUFFIX}" for source, stem in stems.items()}
    elif out is not None:
        drawn = {source: out for source in sources}
    saved = (
        {source: scenes / f"{stem}{SCENE_SUFFIX}" for source, stem in stems.items() if not is_scene(source.name)}
        if scenes
        else {}
    )
    if json is not None and Path(json).is_dir():
        raise typer.BadParameter(f"`{json}` is a folder; name a file in it", param_hint="--json")
    targets = OutputFiles(drawn, saved, json)
    refuse_overwriting(sources, targets.files())
    refuse_twice(targets.files())
    return targets


def is_folder(out: Path, count: int) -> bool:
    """Whether `--out` is a folder: it is one, or has no ending, or there are several pictures."""
    if out.is_dir():
        return True
    if count > 1:
        if out.exists() or is_picture(out.name):
            raise typer.BadParameter(f"`{out}` names one file, but there are {count} pictures; give a folder", param_hint="--out")
        return True
    if out.suffix and out.suffix.lower() not in DRAWABLE:
        raise typer.BadParameter(f"`{out}` ends in none of {', '.join(DRAWABLE)}, and is no folder", param_hint="--out")
    return not out.suffix


def unique_stems(sources: Iterable[Path]) -> dict[Path, str]:
    """A name per input, numbered where two inputs share one, so that no output replaces another."""
    stems: dict[Path, str] = {}
    taken: set[str] = set()
    for source in sources:
        stem = source.name[: -len(SCENE_SUFFIX)] if is_scene(source.name) else source.stem
        name, number = stem, 2
        while name.lower() in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name.lower())
        stems[source] = name
    return stems


def refuse_overwriting(sources: Iterable[Path], targets: Iterable[Path]) -> None:
    """Compare files, not names: a link or another spelling leads to the same picture."""
    inputs = {identity(source) for source in sources} - {None}
    for target in targets:
        if identity(target) in inputs:
            raise typer.BadParameter(f"`{target}` is one of the pictures and would be overwritten; write somewhere else")


def refuse_twice(files: Sequence[Path]) -> None:
    """One answer must not replace another: every file to write is another one."""
    seen: set[str] = set()
    for file in files:
        place = os.path.realpath(file)
        if place in seen:
            raise typer.BadParameter(f"`{file}` would be written twice, by two options; give each its own name")
        seen.add(place)


def identity(path: Path) -> tuple[int, int] | None:
    """Device and number of a file; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
