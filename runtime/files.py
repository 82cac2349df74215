"""Writing a file so that it appears whole or not at all, whatever interrupts the writer."""

from __future__ import annotations

import contextlib
import os
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import IO

Writer = Callable[[IO[bytes]], object]


def write_atomically(path: str | os.PathLike[str], content: bytes | Writer, *, mode: int = 0o666) -> None:
    """Write bytes, or what a function writes, to a file beside the target, then put it in the target's place.

    A symbolic link is followed: the file that it leads to is replaced. A file that exists keeps its permissions; a new one
    gets `mode`, less the umask. What is no regular file (a pipe, `/dev/stdout`) is written to directly. OSErrors are the
    caller's to explain; until the last step has succeeded the target is as it was.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            write(file, content)
        return
    temporary = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            if target.exists():
                os.chmod(temporary, stat.S_IMODE(target.stat().st_mode))
            write(file, content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:  # a KeyboardInterrupt must leave nothing behind either
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write(file: IO[bytes], content: bytes | Writer) -> None:
    """Put the content into an open file."""
    if isinstance(content, bytes):
        file.write(content)
    else:
        content(file)
