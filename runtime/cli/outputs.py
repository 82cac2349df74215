"""Where `locate` writes: drawn pictures, scenes, crops and lists, planned and checked before any work is done."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from runtime.cli.inputs import DRAWN_SUFFIX, SCENE_SUFFIX, Source, is_picture, is_scene

DRAWABLE = (".png", ".jpg", ".jpeg", ".webp")
STDOUT = "-"
FOLDER_LABELS = ("voc", "yolo")  # formats of a file per picture


@dataclass(frozen=True)
class Wanted:
    """Where the user wants what: `-` is stdout."""

    out: Path | None = None
    scenes: Path | None = None
    crops: Path | None = None
    json: str | None = None
    lines: str | None = None
    csv: str | None = None
    labels: tuple[tuple[str, Path], ...] = ()

    def whole(self) -> list[tuple[str, str]]:
        """Options, and the one file that each writes about all pictures."""
        given = (("--json", self.json), ("--jsonl", self.lines), ("--csv", self.csv))
        labels = [(f"--labels {kind}", str(path)) for kind, path in self.labels if kind not in FOLDER_LABELS]
        return [*((option, target) for option, target in given if target is not None), *labels]

    @property
    def to_stdout(self) -> bool:
        """Whether a file's content goes to stdout, which must then hold nothing else."""
        return STDOUT in (self.json, self.lines, self.csv)


@dataclass(frozen=True)
class OutputFiles:
    """Files to write: a drawn picture, a scene and crops per input, and those about all of them."""

    wanted: Wanted
    drawn: dict[Source, Path]
    scenes: dict[Source, Path]
    crops: dict[Source, Path]  # how the names of an input's crops begin

    def files(self) -> list[Path]:
        """Every file that will be written, but the crops, whose number only the answers tell."""
        whole = [Path(target) for _, target in self.wanted.whole() if target != STDOUT]
        return [*self.drawn.values(), *self.scenes.values(), *whole]

    def prepare(self) -> None:
        """Make the folders, so that a place that cannot be written to is told now and not after minutes."""
        labels = [path for kind, path in self.wanted.labels if kind in FOLDER_LABELS]
        folders = [*(path.parent for path in (*self.files(), *self.crops.values())), *labels]
        for folder in dict.fromkeys(folders):
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(13, "this folder cannot be written to", str(folder))


def plan(sources: Sequence[Source], wanted: Wanted) -> OutputFiles:
    """Name every file to write; raises a usage error where one would replace an input or does not fit."""
    stems = unique_stems(sources)
    drawn: dict[Source, Path] = {}
    if wanted.out is not None and is_folder(wanted.out, len(sources)):
        drawn = {source: wanted.out / f"{stem}{DRAWN_SUFFIX}" for source, stem in stems.items()}
    elif wanted.out is not None:
        drawn = {source: wanted.out for source in sources}
    pictures = {source: stem for source, stem in stems.items() if not is_scene(source.name)}
    saved = {source: wanted.scenes / f"{stem}{SCENE_SUFFIX}" for source, stem in pictures.items()} if wanted.scenes else {}
    crops = {source: wanted.crops / stem for source, stem in stems.items()} if wanted.crops else {}
    for option, target in wanted.whole():
        if Path(target).is_dir():
            raise typer.BadParameter(f"`{target}` is a folder; name a file in it", param_hint=option)
    if sum(target == STDOUT for _, target in wanted.whole()) > 1:
        raise typer.BadParameter("two options write to stdout, `-`; give one of them a file")
    targets = OutputFiles(wanted, drawn, saved, crops)
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


def unique_stems(sources: Iterable[Source]) -> dict[Source, str]:
    """A name per input, numbered where two inputs share one, so that no output replaces another."""
    stems: dict[Source, str] = {}
    taken: set[str] = set()
    for source in sources:
        stem = source.name[: -len(SCENE_SUFFIX)] if is_scene(source.name) else source.stem
        name, number = stem, 2
        while name.lower() in taken:
            name, number = f"{stem}-{number}", number + 1
        taken.add(name.lower())
        stems[source] = name
    return stems


def refuse_overwriting(sources: Iterable[Source], targets: Iterable[Path]) -> None:
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


def identity(path: Source) -> tuple[int, int] | None:
    """Device and number of a file; None when there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
