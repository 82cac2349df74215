"""Runs made-up cases in a process that may die, and tells which of them broke a promise.

A subject is a module with `case(rng)`, which makes a case from a `random.Random` and gives what it does as a function. That
function returns, or raises one of the subject's `REFUSALS`; it may not print, warn, take long, take much memory or end the
process. A subject whose cases are long or large has a `LATE` or `MOST_BYTES` of its own. A case is known by its number, so that
a find is kept as one line of `finds.txt`: subject and number.
"""

from __future__ import annotations

import importlib
import itertools
import os
import random
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

FINDS = Path(__file__).with_name("finds.txt")
START = 60.0  # seconds until a victim must have begun
LATE = 30.0  # seconds until a case counts as hanging, on a busy machine
MOST_SECONDS = 5.0  # of the processor's time for one case
MOST_BYTES = 1 << 30  # more than the process has when it begins
MOST_LINES = 8  # of an error: what was found, what is there, what to do


class Victim:
    """A process that tries cases, started anew after each that it did not survive."""

    def __init__(self, subject: str) -> None:
        self.subject, self.process = subject, None
        self.late = getattr(importlib.import_module(f"tests.torture.{subject}"), "LATE", LATE)

    def __enter__(self) -> Victim:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self) -> None:
        self.printed = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        command = [sys.executable, "-c", f"from tests.torture.harness import serve; serve({self.subject!r})"]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.printed}
        self.process = subprocess.Popen(command, bufsize=0, **pipes)
        if not select.select([self.process.stdout], [], [], START)[0] or self.process.stdout.readline() != b"ready\n":
            self.printed.seek(0)
            raise RuntimeError(f"the subject {self.subject} does not begin: {self.printed.read().decode(errors='replace')}")

    def end(self) -> int:
        """The status that the process ended with."""
        process, self.process = self.process, None
        if process is None:
            return 0
        with process, self.printed:
            process.stdin.close()  # it ends by itself, and tidies up, unless it hangs
            try:
                return process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait()

    def try_case(self, number: int) -> str:
        """What the case broke; empty for a good one."""
        if self.process is None:
            self.begin()
        self.process.stdin.write(b"%d\n" % number)
        if not select.select([self.process.stdout], [], [], self.late)[0]:
            self.end()
            return f"takes more than {self.late:g} s"
        answer = self.process.stdout.readline()
        if answer:
            return answer.decode().strip()
        self.printed.seek(0)
        last = self.printed.read()[-200:].decode(errors="replace")
        self.process.wait()
        return one_line(f"ends the process with status {self.end()}: {last}")


def torture(subject: str, numbers: Iterable[int], seconds: float, tell: Callable[[str], object]) -> tuple[int, list[str]]:
    """Try cases until the time is up; gives how many, and the finds."""
    end, tried, finds = time.monotonic() + seconds, 0, []
    with Victim(subject) as victim:
        for number in itertools.takewhile(lambda _: time.monotonic() < end, numbers):
            broken, tried = victim.try_case(number), tried + 1
            if broken:
                finds.append(f"{subject} {number} {broken}")
                tell(finds[-1])
    return tried, finds


def kept(subject: str) -> list[int]:
    """The numbers of earlier finds."""
    words = [line.split() for line in FINDS.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    return [int(number) for name, number, *_ in words if name == subject]


def serve(subject: str) -> None:
    """What the victim does: a number comes in, what the case broke goes out."""
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever is printed counts
    warnings.simplefilter("always")
    module = importlib.import_module(f"tests.torture.{subject}")
    module.case(random.Random(0))  # imports and seeds are no case's doing
    with open("/proc/self/statm", "rb") as file:
        most = int(file.read().split()[0]) * resource.getpagesize() + getattr(module, "MOST_BYTES", MOST_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    os.write(answers, b"ready\n")
    for line in sys.stdin:
        os.write(answers, one_line(broken_by(module, int(line))).encode() + b"\n")


def broken_by(module: Any, number: int) -> str:
    """Try one case here."""
    action = module.case(random.Random(number))
    printed, began = os.fstat(2).st_size, time.process_time()
    try:
        action()
    except module.REFUSALS as error:
        if len(str(error)) > 2_000 or str(error).count("\n") > MOST_LINES:
            return f"says too much: {error!s:.100}"
    except BaseException as error:
        return "raises " + traceback.format_exception_only(error)[-1] + traceback.format_tb(error.__traceback__)[-1]
    spent = time.process_time() - began
    if spent > MOST_SECONDS:
        return f"takes {spent:.1f} s"
    said = os.fstat(2).st_size - printed
    return f"prints {said} bytes: {os.pread(2, 200, printed).decode(errors='replace')}" if said else ""


def one_line(words: str) -> str:
    """Words without line ends."""
    return " ".join(words.split())[:400]
