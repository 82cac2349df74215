"""A process per way: it loads its own libraries, waits, and works only when it is asked.

Its peak memory is its own, a way that dies takes nothing with it, and a missing library or device is an answer.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.compare.job import UnavailableError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VLSCORE_THREADS")
PATIENCE_S = 5.0  # for a process that was told to end

Make = Callable[..., Any]
Answer = Any  # whatever the method over there gives


class Worker:
    """An object that lives in a process of its own: made there by `make(*arguments)`, asked from here."""

    def __init__(self, make: Make, arguments: tuple[object, ...], threads: int) -> None:
        context = multiprocessing.get_context("spawn")  # a forked child would begin with this process's memory
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, make, arguments), daemon=True)
        with limited(threads):
            self.process.start()
        theirs.close()

    def ready(self) -> None:
        """Wait until the object is made; raises `UnavailableError` when it cannot be."""
        self.receive()

    def ask(self, name: str, *arguments: object) -> Answer:
        """Call a method there and give its result; raises `UnavailableError` for whatever it raised."""
        try:
            self.pipe.send((name, arguments))
        except (BrokenPipeError, OSError):
            raise UnavailableError(self.obituary()) from None
        return self.receive()

    def receive(self) -> Answer:
        """Wait for the answer to the last question."""
        try:
            kind, value = self.pipe.recv()
        except (EOFError, ConnectionResetError):
            raise UnavailableError(self.obituary()) from None
        if kind != "ok":
            raise UnavailableError(str(value))
        return value

    def peak_mib(self) -> float:
        """The most memory that the process ever held."""
        return float(self.ask("peak_mib"))

    def obituary(self) -> str:
        """Say how the process ended."""
        self.process.join(PATIENCE_S)
        code = self.process.exitcode
        return f"its process ended (exit code {code}" + ("; out of memory?)" if code == -9 else ")")

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError, OSError):
            self.pipe.send(None)
        self.process.join(PATIENCE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def serve(pipe: Connection, make: Make, arguments: tuple[object, ...]) -> None:
    """The other end: make the object, then answer until told to end."""
    answer = attempt(lambda: make(*arguments))
    made = answer[1] if answer[0] == "ok" else None
    pipe.send(("ok", None) if made is not None else answer)
    while made is not None and (asked := pipe.recv()) is not None:
        name, values = asked
        pipe.send(("ok", peak_mib()) if name == "peak_mib" else attempt(lambda: getattr(made, name)(*values)))  # noqa: B023


def attempt(work: Callable[[], Any]) -> tuple[str, Any]:
    """Do the work, or say in one line why it could not be done."""
    try:
        return "ok", work()
    except UnavailableError as error:
        return "unavailable", str(error)
    except ModuleNotFoundError as error:
        return "unavailable", f"`{error.name}` is not installed"
    except Exception as error:  # whatever a way runs into is a line in the table, not the end of the others
        if os.environ.get("VLSCORE_BENCH_DEBUG"):
            traceback.print_exc()
        return "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def peak_mib() -> float:
    """This process's own high-water mark; what `getrusage` tells begins with the parent's, so it comes second."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def limited(threads: int) -> Iterator[None]:
    """Start processes whose libraries see this many threads: most read it when they are first imported."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
