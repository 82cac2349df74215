"""Bundles appear whole or not at all, whatever happens while they are built."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock

from export.store import StoreError, beside, built_from, locked, new_bundle
from runtime.filling.place import new_folder
from tests.configs import ROOT

FILES = 5


def write(folder: Path, content: str) -> None:
    """Write a bundle of several files that all say the same."""
    for number in range(FILES):
        (folder / f"{number}.onnx").write_text(content)
    (folder / "manifest.json").write_text(f'{{"inputs_hash": "{content}"}}')


def publish(target: Path, content: str) -> None:
    """Build a bundle of such files."""
    with locked(target), new_bundle(target) as folder:
        write(folder, content)


def content_of(target: Path) -> str:
    """What the files of a bundle say, all of them."""
    said = {(target / f"{number}.onnx").read_text() for number in range(FILES)} | {built_from(target)}
    assert len(said) == 1
    return said.pop()


def left_beside(target: Path) -> list[str]:
    """What lies beside a target, the lock excepted."""
    return sorted(path.name for path in target.parent.iterdir() if path not in (target, beside(target, "lock")))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "shelf" / "mine"


def test_a_bundle_appears_when_it_is_whole(target: Path) -> None:
    with locked(target), new_bundle(target) as folder:
        write(folder, "new")
        assert not target.exists()
        assert folder.parent == target.parent  # so that a rename is all it takes
    assert content_of(target) == "new"
    assert left_beside(target) == []


def test_a_bundle_replaces_its_predecessor(target: Path) -> None:
    publish(target, "old")
    (target / "surplus").touch()
    publish(target, "new")
    assert content_of(target) == "new"
    assert not (target / "surplus").exists()
    assert left_beside(target) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("had_one", [False, True])
def test_a_failed_build_changes_nothing(target: Path, error: type[BaseException], had_one: bool) -> None:
    if had_one:
        publish(target, "old")

    def fail() -> None:
        with locked(target), new_bundle(target) as folder:
            write(folder, "half")
            raise error

    with pytest.raises(error):
        fail()
    assert target.exists() is had_one
    if had_one:
        assert content_of(target) == "old"
    assert left_beside(target) == []


def test_the_last_rename_failing_changes_nothing(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old bundle is already aside when the new one cannot take its place; it comes back with the next build."""
    import os

    publish(target, "old")
    real = os.replace

    def replace(source: Path, destination: Path) -> None:
        if source == beside(target, "part"):
            raise OSError(28, "No space left on device")
        real(source, destination)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OSError, match="No space"):
        publish(target, "new")
    monkeypatch.undo()
    with locked(target):
        assert content_of(target) == "old"
    assert left_beside(target) == []


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_no_bundle_is_never_touched(target: Path, kind: str) -> None:
    if kind == "folder":
        target.mkdir(parents=True)
        (target / "thesis.tex").write_text("years of work")
    else:
        target.parent.mkdir()
        target.write_text("years of work")
    with pytest.raises(StoreError, match="exists and is not a bundle; choose another `--out`"):
        publish(target, "new")
    assert (target / "thesis.tex" if kind == "folder" else target).read_text() == "years of work"


def test_an_empty_folder_is_as_good_as_none(target: Path) -> None:
    target.mkdir(parents=True)
    publish(target, "new")
    assert content_of(target) == "new"


def test_a_broken_manifest_is_rebuilt_over(target: Path) -> None:
    publish(target, "old")
    (target / "manifest.json").write_text("{")
    assert built_from(target) == ""
    publish(target, "new")
    assert content_of(target) == "new"


def test_a_place_that_cannot_be_written_to_is_named(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreError, match=r"cannot be written to `.*shelf.*Permission denied.*`--out`"):
        publish(target, "new")


def test_concurrent_builds_take_turns(target: Path) -> None:
    """Every builder finds a whole bundle or none, and nobody mistakes another's for a stranger's folder."""

    def build(number: int) -> None:
        for turn in range(25):
            with locked(target):
                if target.exists():
                    content_of(target)
                with new_bundle(target) as folder:
                    write(folder, f"{number}-{turn}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(build, range(4)))
    assert content_of(target).endswith("-24")
    assert left_beside(target) == []


PUBLISHER = """
import itertools, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests.export.test_store import publish
target = Path({target!r})
for turn in itertools.count():
    publish(target, f"{{sys.argv[1]}}-{{turn}}")
    if turn == 0:
        print("ready", flush=True)
"""


@pytest.fixture
def publisher(target: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that publish without end; whatever a test leaves running is killed."""
    running: list[subprocess.Popen[str]] = []
    yield running
    for process in running:
        process.kill()
        process.wait()
        if process.stdout:
            process.stdout.close()


def test_killed_at_any_moment_the_target_is_whole(target: Path, publisher: list[subprocess.Popen[str]]) -> None:
    """SIGKILL falls anywhere: while files are written, between the two renames, while the old bundle is removed."""
    rng = random.Random(7)
    seen = set()
    for life in range(8):
        command = [sys.executable, "-c", PUBLISHER.format(root=str(ROOT), target=str(target)), str(life)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        publisher.append(process)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.02))
        process.send_signal(signal.SIGKILL)
        process.wait()
        if target.exists():
            content_of(target)
        seen.update(left_beside(target))
        with locked(target):  # what the next build does first
            assert content_of(target).startswith(f"{life}-")
            assert left_beside(target) == []
    publish(target, "after all")
    assert content_of(target) == "after all"
    assert seen <= {".mine.part", ".mine.old"}


@pytest.mark.parametrize("left", ["part", "part and old", "old", "old and new"])
def test_recovery_from_each_state_that_a_kill_can_leave(target: Path, left: str) -> None:
    publish(target, "old")
    if "part" in left:
        beside(target, "part").mkdir()
        (beside(target, "part") / "0.onnx").write_text("ha")
    if "old" in left:
        target.rename(beside(target, "old"))
    if "new" in left:
        publish_by_hand = target
        publish_by_hand.mkdir()
        write(publish_by_hand, "new")
        (beside(target, "old") / "manifest.json").unlink()  # its removal had begun
    with locked(target):
        assert content_of(target) == ("new" if "new" in left else "old")
    assert left_beside(target) == []


def test_no_bundle_has_no_inputs(target: Path) -> None:
    assert built_from(target) == ""


def test_what_killed_builds_of_other_targets_left_is_cleared_too(target: Path) -> None:
    other, busy = target.with_name("other"), target.with_name("busy")
    for each in (other, busy):
        beside(each, "part").mkdir(parents=True)
        (beside(each, "part") / "0.onnx").write_text("half")
    with FileLock(beside(busy, "lock")), locked(target):
        assert not beside(other, "part").exists()
        assert beside(busy, "part").exists()  # somebody is building it


def test_a_full_disk_is_one_sentence(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match=r"cannot be written to .*No space left on device.*make room"), locked(target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_bundle_that_is_being_filled_is_left_alone(target: Path) -> None:
    other = target.with_name("pulled")
    with new_folder(other) as filling:
        (filling / "image.onnx").write_text("half")
        with locked(target):  # clears away what killed builds left
            assert (filling / "image.onnx").read_text() == "half"
    assert (other / "image.onnx").is_file()
