"""Processes with disks of their own, and what they hold of memory and files."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

PATIENCE = 120.0  # seconds until a process must have shown something, on a busy machine
DISK = 4 << 20  # bytes of the small disk that is filled
NEW_MOUNTS, READ_ONLY, REMOUNT, RECURSIVE, PRIVATE = 0x20000, 1, 32, 0x4000, 1 << 18  # of Linux
LIBC = ctypes.CDLL(None, use_errno=True)


def alone(work: Callable[..., None], *arguments: object) -> None:
    """Run a function in a process of its own, and raise here what it raises there."""
    context = multiprocessing.get_context("fork")
    faults = context.SimpleQueue()

    def body() -> None:
        try:
            work(*arguments)
        except BaseException:
            faults.put(traceback.format_exc(limit=-2))
        else:
            faults.put("")

    process = context.Process(target=body)
    process.start()
    process.join()
    assert not faults.empty(), f"the process ended with {process.exitcode}"
    assert not (fault := faults.get()), fault


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """An empty folder, gone at the end."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def mounted(folder: Path) -> bool:
    """Put a small disk of this process alone in the place of a folder; false where that is not allowed."""
    if not sys.platform.startswith("linux") or LIBC.unshare(NEW_MOUNTS) != 0:
        return False
    if LIBC.mount(b"none", b"/", None, RECURSIVE | PRIVATE, None) != 0:
        return False
    return bool(LIBC.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={DISK}".encode()) == 0)


def remount_read_only(folder: Path) -> None:
    """Let nothing more be written to a small disk."""
    assert LIBC.mount(None, os.fsencode(folder), None, REMOUNT | READ_ONLY, None) == 0


def fill(ballast: Path, room: int) -> None:
    """Take all the room that a disk has, less a little."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    os.truncate(ballast, max(0, ballast.stat().st_size - room))


def names_in(folder: Path) -> set[str]:
    """What a folder holds."""
    return set(os.listdir(folder))


def wait_for(holds: Callable[[], bool]) -> None:
    """Wait until something is so; a slow machine may take its time."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, f"nothing happened for {PATIENCE:g} s"
        time.sleep(0.005)


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def open_files() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))
