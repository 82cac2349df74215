"""What this machine is: processor, instructions that matter, cores and memory."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runtime.errors import DeviceError
from runtime.threads import cpu_quota, default_threads

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
    told = fields(root / "proc/meminfo")
    free, total = (kilobytes(told.get(name)) for name in ("MemAvailable", "MemTotal"))
    for limit, used in group_memory(root):
        left = max(0, limit - used)
        free = left if free is None else min(free, left)
        total = limit if total is None else min(total, limit)
    return free, total


def group_memory(root: Path) -> Iterator[tuple[int, int]]:
    """Limit and use of this process's control groups that have a limit, version 2 and then 1."""
    mount = root / "sys/fs/cgroup"
    for folder in group_folders(root, mount):
        yield from limited(folder / "memory.max", folder / "memory.current")
    yield from limited(mount / "memory/memory.limit_in_bytes", mount / "memory/memory.usage_in_bytes")


def group_folders(root: Path, mount: Path) -> Iterator[Path]:
    """This process's version 2 group, then those above it."""
    own = next((line[3:] for line in lines(root / "proc/self/cgroup") if line.startswith("0::")), "/")
    parts = [part for part in PurePosixPath(own).parts if part not in ("/", "..")]
    for depth in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:depth])


def limited(limit: Path, used: Path) -> Iterator[tuple[int, int]]:
    """The pair of numbers in two files, if both are there and hold numbers."""
    texts = [(*lines(path), "")[0] for path in (limit, used)]
    if all(text.isdecimal() for text in texts):
        yield int(texts[0]), int(texts[1])


def fields(path: Path) -> dict[str, str]:
    """The first value of every `name: value` line."""
    found: dict[str, str] = {}
    for line in lines(path):
        name, separator, value = line.partition(":")
        if separator:
            found.setdefault(name.strip(), value.strip())
    return found


def lines(path: Path) -> list[str]:
    """The lines of a file of the system; none when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def kilobytes(text: str | None) -> int | None:
    """Bytes from a text such as `8054260 kB`."""
    number = (text or "").split(" ")[0]
    return int(number) * 1024 if number.isdecimal() else None
