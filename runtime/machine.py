"""What this machine is: processor, instructions that matter, cores and memory."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

from runtime.cgroups import cpu_quota, memory_limits, read_file
from runtime.errors import DeviceError
from runtime.threads import default_threads

FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


@dataclass(frozen=True)
class Machine:
    """One machine as this process may use it; None where the system does not tell. Memory in bytes."""

    python: str
    executable: str
    platform: str
    processor: str
    cores: int
    allowed: int
    quota: float | None
    threads: int | None
    threads_fault: str
    flags: dict[str, bool] | None
    memory_free: int | None
    memory_total: int | None


def look(root: Path = Path("/")) -> Machine:
    """Look at the machine; `root` is the root of the file system that tells about it."""
    cpuinfo = fields(root / "proc/cpuinfo")
    names = cpuinfo.get("flags")
    cores = os.cpu_count() or 1
    threads, fault = count_threads()
    free, total = memory(root)
    return Machine(
        python=platform.python_version(),
        executable=sys.executable,
        platform=platform.platform(),
        processor=cpuinfo.get("model name") or platform.processor() or platform.machine(),
        cores=cores,
        allowed=len(os.sched_getaffinity(0)) if sys.platform == "linux" else cores,
        quota=cpu_quota(root),
        threads=threads,
        threads_fault=fault,
        flags=None if names is None else {flag: flag in names.split() for flag in FLAGS},
        memory_free=free,
        memory_total=total,
    )


def count_threads() -> tuple[int | None, str]:
    """How many threads sessions start, or what is wrong with the setting."""
    try:
        return default_threads(), ""
    except DeviceError as error:
        return None, str(error)


def memory(root: Path) -> tuple[int | None, int | None]:
    """Bytes free and in all: the machine's, or less where the control group grants less."""
    meminfo = fields(root / "proc/meminfo")
    free, total = (kilobytes(meminfo.get(name)) for name in ("MemAvailable", "MemTotal"))
    for limit, used in memory_limits(root):
        left = max(0, limit - used)
        free = left if free is None else min(free, left)
        total = limit if total is None else min(total, limit)
    return free, total


def fields(path: Path) -> dict[str, str]:
    """The first value of every `name: value` line."""
    found: dict[str, str] = {}
    for line in read_file(path).splitlines():
        name, separator, value = line.partition(":")
        if separator:
            found.setdefault(name.strip(), value.strip())
    return found


def kilobytes(text: str | None) -> int | None:
    """Bytes from a text such as `8054260 kB`."""
    number = (text or "").split(" ")[0]
    return int(number) * 1024 if number.isdecimal() else None
