"""A process per contender: it loads its own libraries, waits, and works only when it is asked.

Its peak memory is its own, a contender that dies takes nothing with it, and a missing library or device is an answer.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Self

from bench.compare.task import UnavailableError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VLSCORE_THREADS")

Make = Callable[..., Any]

held: dict[str, Any] = {}  # in the worker's process: the object that is asked


class Worker(contextlib.AbstractContextManager["Worker"]):
    """An object that lives in a process of its own: made there by `make(*arguments)`, asked from here."""

    def __init__(self, make: Make, arguments: tuple[object, ...], threads: int) -> None:
        # A forked child would begin with this process's memory, and its peak.
        self.pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        with limited(threads):
            self.pid = self.pool.submit(os.getpid).result()
        self.made = self.pool.submit(work, make, arguments)

    def __enter__(self) -> Self:
        self.ready()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def ready(self, patience: float | None = None) -> None:
        """Wait until the object is made; raises `UnavailableError` when it cannot be."""
        self.wait_for(self.made, patience)

    def ask(self, name: str, *arguments: object, patience: float | None = None) -> Any:  # noqa: ANN401 - what the method gives
        """Call a method there and give its result; raises `UnavailableError` for whatever it raised, or after `patience` s."""
        try:
            answer = self.pool.submit(work, name, arguments)
        except BrokenProcessPool:
            raise UnavailableError("its process ended before") from None
        return self.wait_for(answer, patience)

    def wait_for(self, answer: Any, patience: float | None) -> Any:  # noqa: ANN401
        """Wait for an answer; a process that takes longer is ended."""
        try:
            kind, value = answer.result(patience)
        except TimeoutError:
            os.kill(self.pid, signal.SIGKILL)
            raise UnavailableError(f"no answer in {patience:.0f} s: its process was ended") from None
        except BrokenProcessPool:
            raise UnavailableError("its process ended by itself: a crash, or out of memory") from None
        if kind != "ok":
            raise UnavailableError(value)
        return value

    def close(self) -> None:
        """End the process."""
        self.pool.shutdown()


def work(what: Make | str, arguments: tuple[object, ...]) -> tuple[str, Any]:
    """In the worker's process: make the object, or call a method of it; or say in one line why that could not be done."""
    try:
        if not isinstance(what, str):
            held["object"] = what(*arguments)
            return "ok", None
        return "ok", peak_mib() if what == "peak_mib" else getattr(held["object"], what)(*arguments)
    except UnavailableError as error:
        return "unavailable", str(error)
    except ModuleNotFoundError as error:
        return "unavailable", f"`{error.name}` is not installed"
    except Exception as error:  # whatever a contender runs into is a line in the table, not the end of the others
        if os.environ.get("VLSCORE_BENCH_DEBUG"):
            traceback.print_exc()
        return "failed", f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def peak_mib() -> float:
    """The most memory that this process ever held; `getrusage` counts from the parent's peak, so it comes second."""
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextlib.contextmanager
def limited(threads: int) -> Iterator[None]:
    """Start processes whose libraries see this many threads: most read it when they are first imported."""
    before = dict(os.environ)
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    try:
        yield
    finally:
        for name in THREAD_VARIABLES:
            del os.environ[name]
        os.environ.update({name: before[name] for name in THREAD_VARIABLES if name in before})
