"""How many threads a session should start: what this process may use, not what the machine has."""

from __future__ import annotations

import math
import os
import sys
import threading
from pathlib import Path

from runtime.cgroups import cpu_quota, read_file
from runtime.errors import DeviceError

THREADS_VARIABLE = "VLSCORE_THREADS"


def default_threads(root: Path = Path("/")) -> int:
    """The threads to start: ``VLSCORE_THREADS``, else the least of affinity, quota and physical cores.

    ``root`` is the root of the file system, which is read for the container's quota and the cores.
    """
    asked = os.environ.get(THREADS_VARIABLE, "").strip()
    if asked:
        if not asked.isdecimal() or int(asked) < 1:
            raise DeviceError(
                f"`{THREADS_VARIABLE}` is {asked!r}; a whole number of at least 1 is needed: "
                f"set it so, or unset it to let the machine decide"
            )
        return int(asked)
    allowed = _affinity()
    limits = (len(allowed), _physical_cores(root, allowed), cpu_quota(root))
    return max(1, min(math.ceil(limit) for limit in limits if limit is not None))


def check_startable(count: int) -> None:
    """Refuse threads that this process may not start: ONNX Runtime waits for ever for those that it did not get."""
    done, started = threading.Event(), list[threading.Thread]()
    try:
        for _ in range(count):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            started.append(thread)
    except (RuntimeError, MemoryError) as error:
        raise DeviceError(
            f"asked for {count} threads; found that this process may start only {len(started)} more ({error}). Ask for fewer, or "
            "raise its limits of memory and processes"
        ) from error
    finally:
        done.set()
        for thread in started:
            thread.join()


def _affinity() -> frozenset[int]:
    """The numbers of the logical processors this process may run on."""
    if sys.platform == "linux":
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _physical_cores(root: Path, allowed: frozenset[int]) -> int | None:
    """Cores behind the allowed processors: two threads of one core do no more arithmetic than one."""
    cores = set()
    for number in allowed:
        topology = root / f"sys/devices/system/cpu/cpu{number}/topology"
        core = read_file(topology / "core_id")
        if not core:
            return None
        cores.add((read_file(topology / "physical_package_id"), read_file(topology / "die_id"), core))
    return len(cores)
