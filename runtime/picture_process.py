"""Decodes one picture file in a process of its own, with a limit of time and memory: for servers.

The child gets the bytes of the file, and gives height, width and pixels, or the words of a refusal. Whatever happens to
it, a library that crashes included, is a ``PictureError`` here.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import struct
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from typing import IO, Any

import numpy as np

from runtime.errors import PictureError
from runtime.picture_limits import PictureLimits
from runtime.picture_modes import Pixels

COMMAND = "from runtime.picture_process import child; child()"
PIXEL_BYTES = 24  # that the most demanding format needs for one pixel while it is decoded
ROOM = 1 << 29  # for everything else: the file, libraries, threads
ANSWER = struct.Struct("<?QQ")  # whether pixels follow, of what height and width; or of how many bytes the refusal is
MOST_WORDS = 10_000


def decode_apart(data: bytes, name: str, limits: PictureLimits) -> Pixels:
    """Decode the bytes of a picture file within `limits.seconds`, or raise ``PictureError``."""
    assert limits.seconds is not None
    process = _start(name, limits)
    late = threading.Event()

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(limits.seconds, end)
    timer.start()
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:
            pipe.write(data)
        pixels = _answer(process.stdout, limits)
        if pixels is not None:
            return pixels
    finally:
        timer.cancel()
        process.kill()
        with process:  # waits, and closes what is open
            pass
    if late.is_set():
        raise PictureError(f"`picture` {name} takes more than {limits.seconds:g} seconds to decode: shrink it, or allow more")
    raise PictureError(f"`picture` {name} ended the process that decoded it (status {process.returncode}): it is damaged")


def _start(name: str, limits: PictureLimits) -> subprocess.Popen[bytes]:
    told = json.dumps([name, asdict(limits)])
    # Where this process found its packages; one thread, as there is nothing to share.
    surroundings = {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), "OPENBLAS_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    try:
        return subprocess.Popen([sys.executable, "-c", COMMAND, told], env={**os.environ, **surroundings}, **pipes)
    except OSError as error:
        raise PictureError(f"`picture` {name}: no process can be started to decode it ({error}); leave `seconds` out") from error


def _answer(stream: IO[bytes], limits: PictureLimits) -> Pixels | None:
    """The pixels, or None where there are none; the child is not trusted, as it may have been taken over."""
    head = stream.read(ANSWER.size)
    if len(head) < ANSWER.size:
        return None
    well, height, width = ANSWER.unpack(head)
    if not well:
        raise PictureError(stream.read(min(height, MOST_WORDS)).decode(errors="replace"))
    if not 0 < height * width <= limits.pixels:
        return None
    pixels = np.empty((height, width, 3), np.uint8)
    return pixels if stream.readinto(pixels.reshape(-1)) == pixels.nbytes else None  # type: ignore[attr-defined]


def child() -> None:
    """What the other process does."""
    import resource

    from runtime.pictures import from_file

    name, told = json.loads(sys.argv[1])
    limits = PictureLimits(**told)
    held = _memory_now()
    most = held + ROOM + PIXEL_BYTES * limits.pixels
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    seconds = math.ceil(limits.seconds or 1) + 1  # should nobody be left to end this process
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    data, answer = sys.stdin.buffer.read(), sys.stdout.buffer
    try:
        pixels = from_file(io.BytesIO(data), len(data), name, replace(limits, seconds=None))
    except PictureError as error:
        words = str(error).encode(errors="replace")[:MOST_WORDS]
        answer.write(ANSWER.pack(False, len(words), 0) + words)
    else:
        answer.write(ANSWER.pack(True, *pixels.shape[:2]))
        answer.write(pixels.reshape(-1).data)
    answer.flush()


def _memory_now() -> int:
    """Bytes of address space that this process has, or a guess where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 1 << 30
