"""How many threads a session should start: what this process may use, not what the machine has."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from runtime.errors import DeviceError

THREADS_VARIABLE = "VLSCORE_THREADS"
CGROUPS = "sys/fs/cgroup"


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
        core = _read(topology / "core_id")
        if core is None:
            return None
        cores.add((_read(topology / "physical_package_id"), _read(topology / "die_id"), core))
    return len(cores)


def cpu_quota(root: Path = Path("/")) -> float | None:
    """How many processors' time the control groups grant, the tightest of them; None without a limit."""
    quotas = [quota for quota in (*_quotas_v2(root), *_quotas_v1(root)) if quota is not None]
    return min(quotas, default=None)


def _quotas_v2(root: Path) -> Iterator[float | None]:
    for mount in (root / CGROUPS, root / CGROUPS / "unified"):
        for group in _groups(mount, _group_path(root, "")):
            words = (_read(group / "cpu.max") or "").split()
            if words:
                yield _quota(words[0], words[1] if len(words) > 1 else "100000")


def _quotas_v1(root: Path) -> Iterator[float | None]:
    for mount in (root / CGROUPS / "cpu", root / CGROUPS / "cpu,cpuacct"):
        for group in _groups(mount, _group_path(root, "cpu")):
            yield _quota(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))


def _group_path(root: Path, controller: str) -> PurePosixPath:
    """This process's group of one hierarchy; the nameless one is version 2."""
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, names, path = (*line.split(":", 2), "", "")[:3]
        if path and controller in names.split(","):
            return PurePosixPath(path)
    return PurePosixPath("/")


def _groups(mount: Path, group: PurePosixPath) -> Iterator[Path]:
    """The group's folder and every folder above it up to the mount: each may hold its own limit.

    Inside a container the group is often told by the host's path, of which only the mount exists.
    """
    parts = [part for part in group.parts if part not in ("/", "..")]
    for depth in range(len(parts), -1, -1):
        yield mount.joinpath(*parts[:depth])


def _quota(quota: str | None, period: str | None) -> float | None:
    try:
        granted, per = int(quota or ""), int(period or "")
    except ValueError:  # "max", or no such file
        return None
    return granted / per if granted > 0 and per > 0 else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
