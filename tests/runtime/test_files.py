"""Files appear whole or not at all, and replacing one changes nothing but its content."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from runtime.cli.lists import write_text
from runtime.drawing import write_picture
from runtime.errors import PictureError
from runtime.files import write_atomically

Break = Callable[[pytest.MonkeyPatch], bytes | Callable[[IO[bytes]], object]]


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def half_written(error: BaseException) -> Callable[[IO[bytes]], object]:
    """A writer that fails in the middle."""

    def write(file: IO[bytes]) -> None:
        file.write(b"half of ")
        file.flush()
        raise error

    return write


def full_while_writing(monkeypatch: pytest.MonkeyPatch) -> Callable[[IO[bytes]], object]:
    return half_written(OSError(errno.ENOSPC, "No space left on device"))


def full_at_the_end(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Some file systems find out only when the content is flushed to the disk."""
    monkeypatch.setattr(os, "fsync", full_disk)
    return b"new"


def not_replaced(monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setattr(os, "replace", full_disk)
    return b"new"


def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[[IO[bytes]], object]:
    return half_written(KeyboardInterrupt())


@pytest.mark.parametrize("existing", [True, False])
@pytest.mark.parametrize("harm", [full_while_writing, full_at_the_end, not_replaced, interrupted])
def test_what_fails_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Break, existing: bool
) -> None:
    target = tmp_path / "scene.npz"
    if existing:
        target.write_bytes(b"old")
    with pytest.raises((OSError, KeyboardInterrupt)):
        write_atomically(target, harm(monkeypatch))
    assert [path.name for path in tmp_path.iterdir()] == (["scene.npz"] if existing else [])
    assert not existing or target.read_bytes() == b"old"


def test_bytes_and_writers(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"one")
    write_atomically(str(tmp_path / "b"), lambda file: file.write(b"two"))
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"one", b"two"]
    assert len(list(tmp_path.iterdir())) == 2


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "answers.json"
    target.write_bytes(b"old")
    seen = []

    def write(file: IO[bytes]) -> None:
        file.write(b"new")
        file.flush()
        seen.append(target.read_bytes())

    write_atomically(target, write)
    assert (seen, target.read_bytes()) == ([b"old"], b"new")


def test_a_new_file_has_the_usual_permissions_and_an_old_one_keeps_its_own(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "usual", b"1")
        write_atomically(tmp_path / "private", b"1", mode=0o600)
        (tmp_path / "shared").touch()
        (tmp_path / "shared").chmod(0o664)
        write_atomically(tmp_path / "shared", b"2")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"usual": 0o640, "private": 0o600, "shared": 0o664}


@pytest.mark.parametrize("existing", [True, False])
def test_a_link_is_followed(tmp_path: Path, existing: bool) -> None:
    real, link = tmp_path / "elsewhere" / "real.json", tmp_path / "link.json"
    real.parent.mkdir()
    if existing:
        real.write_bytes(b"old")
    link.symlink_to(Path("elsewhere") / "real.json")
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"
    assert list(real.parent.iterdir()) == [real]


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", list[bytes]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_atomically(pipe, b"through")
    reader.join(10)
    assert read == [b"through"]
    assert pipe.is_fifo()


@pytest.mark.parametrize("length", [200, 250])
def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path: Path, length: int) -> None:
    target = tmp_path / ("n" * length)
    write_atomically(target, b"1")
    assert target.read_bytes() == b"1"


def test_missing_folders_and_folders_in_the_way_are_the_callers_to_explain(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "none" / "a", b"1")
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, b"1")
    assert list(tmp_path.iterdir()) == []


def test_pictures_and_answers_survive_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, answers = tmp_path / "drawn.png", tmp_path / "answers.json"
    write_picture(picture, np.zeros((4, 4, 3), np.uint8))
    write_text(str(answers), "[]")
    before = picture.read_bytes(), answers.read_bytes()
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(PictureError, match="No space left"):
        write_picture(picture, np.ones((4, 4, 3), np.uint8))
    with pytest.raises(OSError, match="No space left"):
        write_text(str(answers), "[1]")
    assert (picture.read_bytes(), answers.read_bytes()) == before
    assert len(list(tmp_path.iterdir())) == 2
