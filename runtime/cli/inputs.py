"""What the arguments of `locate` mean: which are pictures, which are queries, and what folders and patterns hold."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import typer

from runtime.errors import PictureError

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"),
    *(".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm"),
)
VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")
SCENE_SUFFIX = ".scene.npz"
DRAWN_SUFFIX = ".boxes.png"
PATTERN = "*?["


@dataclass(frozen=True)
class VideoFrame:
    """One moment of a video: which file, and how many seconds from its beginning."""

    path: Path
    second: float

    @property
    def stem(self) -> str:
        """Its name without an ending."""
        return f"{self.path.stem}@{self.second:g}s"

    @property
    def name(self) -> str:
        """Its name."""
        return f"{self.path.name}@{self.second:g}s"

    def __str__(self) -> str:
        return f"{self.path}@{self.second:g}s"

    def __fspath__(self) -> str:
        """The file it is in."""
        return str(self.path)


Source: TypeAlias = Path | VideoFrame


def split(arguments: Sequence[str], queries: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell pictures, which come first, from queries; with explicit queries every argument is a picture."""
    count = len(arguments) if queries else leading(arguments)
    names, words = list(arguments[:count]), list(queries or arguments[count:])
    if not names:
        raise typer.BadParameter(
            f"`{arguments[0]}` is no picture, folder or pattern; name the pictures first, then what to look for"
        )
    if not words:
        raise typer.BadParameter(
            f'nothing to look for: all arguments, up to `{names[-1]}`, are pictures; add words such as "a dog", or --query'
        )
    for word in words:
        if not word.strip():
            raise typer.BadParameter('a query is empty; give the words to look for, such as "a dog"')
        if not queries and is_picture(word) and os.path.isfile(word):
            raise typer.BadParameter(f"the picture `{word}` comes after a query; name the pictures first, or use --query")
    return names, words


def leading(arguments: Sequence[str]) -> int:
    """How many arguments at the front are pictures."""
    return next((index for index, word in enumerate(arguments) if not names_pictures(word)), len(arguments))


def names_pictures(word: str) -> bool:
    """Whether an argument is there, or looks like a path or a pattern; of several words, only a real match counts."""
    if os.path.exists(os.path.expanduser(word)) or is_picture(word) or is_scene(word) or is_video(word):
        return True
    pattern = any(mark in word for mark in PATTERN)
    if any(letter.isspace() for letter in word):
        return pattern and bool(glob.glob(word))
    return pattern or any(separator in word for separator in (os.sep, os.altsep or os.sep))


def expand(names: Iterable[str], recursive: bool, every_s: float = 1.0) -> list[Source]:
    """What is behind the names, each once: a folder stands for its pictures, a pattern for its matches, a video for frames."""
    found: dict[Source, None] = {}
    for name in names:
        for file in files_of(os.path.expanduser(name), recursive):
            found.update(dict.fromkeys(frames_of(file, every_s) if is_video(file.name) and file.is_file() else [file]))
    return list(found)


def frames_of(video: Path, every_s: float) -> list[VideoFrame]:
    """The moments of a video that are looked at."""
    from runtime.videos import moments

    return [VideoFrame(video, second) for second in moments(video, every_s)]


def files_of(name: str, recursive: bool) -> list[Path]:
    """Files behind one name; a plain file that is missing is kept, to be told by name with the other pictures."""
    if os.path.isdir(name):
        return files_in(Path(name), recursive)
    if os.path.exists(name) or not any(mark in name for mark in PATTERN):
        return [Path(name)]
    known = [
        match for match in sorted(glob.glob(name, recursive=True)) if is_picture(match) or is_scene(match) or is_video(match)
    ]
    files = [Path(match) for match in known if os.path.isfile(match)]
    if not files:
        raise PictureError(f"no picture matches the pattern `{name}`; if it is what to look for, give it with --query")
    return files


def files_in(folder: Path, recursive: bool) -> list[Path]:
    """Pictures and videos of a folder in order, without what `--out` drew there; where it has none, its saved scenes."""
    inside = folder.rglob("*") if recursive else folder.iterdir()
    files = sorted(path for path in inside if path.is_file() and not path.name.startswith("."))
    pictures = [path for path in files if is_video(path.name) or (is_picture(path.name) and not path.name.endswith(DRAWN_SUFFIX))]
    found = pictures or [path for path in files if is_scene(path.name)]
    if not found:
        hint = "" if recursive else "; --recursive looks into its folders too"
        raise PictureError(f"the folder `{folder}` has no picture in it{hint}")
    return found


def is_picture(name: str) -> bool:
    """Whether a name ends as pictures do."""
    return name.lower().endswith(PICTURE_SUFFIXES)


def is_video(name: str) -> bool:
    """Whether a name ends as videos do."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def is_scene(name: str) -> bool:
    """Whether a name ends as saved scenes do."""
    return name.lower().endswith(SCENE_SUFFIX)
