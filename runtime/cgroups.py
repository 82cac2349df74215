"""The control groups of this process, versions 2 and 1: how much processor time and memory a container grants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

MOUNT = "sys/fs/cgroup"
VERSION_2 = ("", "unified")  # folders under the mount that may hold its hierarchy


def cpu_quota(root: Path = Path("/")) -> float | None:
    """How many processors' time the control groups grant, the tightest of them; None without a limit.

    `root` is the root of the file system.
    """
    quotas = [cpu_max(folder) for folder in group_folders(root, "", VERSION_2)]
    for folder in group_folders(root, "cpu", ("cpu", "cpu,cpuacct")):
        quotas.append(share(read_file(folder / "cpu.cfs_quota_us"), read_file(folder / "cpu.cfs_period_us")))
    return min((quota for quota in quotas if quota is not None), default=None)


def memory_limits(root: Path) -> list[tuple[int, int]]:
    """Limit and use, in bytes, of every control group that limits this process's memory."""
    texts = [(read_file(one / "memory.max"), read_file(one / "memory.current")) for one in group_folders(root, "", VERSION_2)]
    for folder in group_folders(root, "memory", ("memory",)):
        texts.append((read_file(folder / "memory.limit_in_bytes"), read_file(folder / "memory.usage_in_bytes")))
    return [(int(limit), int(used)) for limit, used in texts if limit.isdecimal() and used.isdecimal()]


def group_folders(root: Path, controller: str, hierarchies: tuple[str, ...]) -> Iterator[Path]:
    """This process's group of a controller and every group above it up to the mount: each may set its own limit.

    Inside a container the group is often named by the host's path, of which only the mount exists.
    """
    parts = [part for part in own_group(root, controller).parts if part not in ("/", "..")]
    for hierarchy in hierarchies:
        for depth in range(len(parts), -1, -1):
            yield (root / MOUNT / hierarchy).joinpath(*parts[:depth])


def own_group(root: Path, controller: str) -> PurePosixPath:
    """This process's group in the hierarchy of a controller; version 2 has no name."""
    for line in read_file(root / "proc/self/cgroup").splitlines():
        _, names, path = (*line.split(":", 2), "", "")[:3]
        if path and controller in names.split(","):
            return PurePosixPath(path)
    return PurePosixPath("/")


def cpu_max(folder: Path) -> float | None:
    """The quota of one group of version 2."""
    quota, period = (*read_file(folder / "cpu.max").split(), "", "")[:2]
    return share(quota, period or "100000")


def share(quota: str, period: str) -> float | None:
    """How many processors' time a quota in a period is; None for `max` and for what is no number."""
    try:
        granted, per = int(quota), int(period)
    except ValueError:
        return None
    return granted / per if granted > 0 and per > 0 else None


def read_file(path: Path) -> str:
    """A file of the system without white space at its ends; empty when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
