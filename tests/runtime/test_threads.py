"""Threads follow what the process may use: affinity, the container's quota, the cores behind both."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime import threads
from runtime.cgroups import cpu_quota
from runtime.errors import DeviceError
from runtime.threads import THREADS_VARIABLE, default_threads
from tests.runtime.samples import write_files


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine whose affinity never limits, without the variable."""
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)
    monkeypatch.setattr(threads, "_affinity", lambda: frozenset(range(8)))


def cores(count: int, per_core: int, sockets: int = 1) -> dict[str, str]:
    """The topology of a machine with some hardware threads per core."""
    files = {}
    for number in range(count):
        core = number // per_core
        per_socket = count // per_core // sockets
        topology = f"sys/devices/system/cpu/cpu{number}/topology"
        files[f"{topology}/core_id"] = f"{core % per_socket}\n"
        files[f"{topology}/physical_package_id"] = f"{core // per_socket}\n"
    return files


def test_nothing_known_leaves_the_affinity(tmp_path: Path) -> None:
    assert default_threads(tmp_path) == 8
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("max 100000\n", None),
        ("200000 100000\n", 2),
        ("150000 100000", 1.5),
        ("50000", 0.5),
        ("1000 100000", 0.01),
        ("", None),
        ("nonsense here", None),
        ("100000 0", None),
        ("-1 100000", None),
    ],
)
def test_quota_of_version_2(tmp_path: Path, text: str, quota: float | None) -> None:
    root = write_files(tmp_path, {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": text})
    assert cpu_quota(root) == quota


@pytest.mark.parametrize(("text", "expected"), [("150000 100000", 2), ("1000 100000", 1), ("9900000 100000", 8)])
def test_quota_is_rounded_up_and_never_below_one(tmp_path: Path, text: str, expected: int) -> None:
    assert default_threads(write_files(tmp_path, {"sys/fs/cgroup/cpu.max": text})) == expected


def test_tightest_of_nested_groups_of_version_2(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/machine.slice/box.scope/leaf\n",
        "sys/fs/cgroup/machine.slice/cpu.max": "300000 100000",
        "sys/fs/cgroup/machine.slice/box.scope/cpu.max": "max 100000",
        "sys/fs/cgroup/machine.slice/box.scope/leaf/cpu.max": "500000 100000",
        "sys/fs/cgroup/other/cpu.max": "100000 100000",
    }
    assert cpu_quota(write_files(tmp_path, files)) == 3
    write_files(tmp_path, {"sys/fs/cgroup/machine.slice/box.scope/leaf/cpu.max": "200000 100000"})
    assert cpu_quota(tmp_path) == 2


@pytest.mark.parametrize("group", ["/docker/0123456789ab", "/../../host.slice", "/a:b"])
def test_host_path_inside_a_container_falls_back_to_the_mount(tmp_path: Path, group: str) -> None:
    root = write_files(tmp_path, {"proc/self/cgroup": f"0::{group}\n", "sys/fs/cgroup/cpu.max": "400000 100000"})
    assert cpu_quota(root) == 4


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
def test_version_1(tmp_path: Path, mount: str) -> None:
    files = {
        "proc/self/cgroup": "9:name=systemd:/\n4:memory:/deep\n3:cpuset:/\n2:cpu,cpuacct:/box/leaf\n0::/\n",
        f"sys/fs/cgroup/{mount}/cpu.cfs_quota_us": "-1\n",
        f"sys/fs/cgroup/{mount}/cpu.cfs_period_us": "100000\n",
        f"sys/fs/cgroup/{mount}/box/cpu.cfs_quota_us": "250000\n",
        f"sys/fs/cgroup/{mount}/box/cpu.cfs_period_us": "100000\n",
        f"sys/fs/cgroup/{mount}/box/leaf/cpu.cfs_quota_us": "-1\n",
        f"sys/fs/cgroup/{mount}/box/leaf/cpu.cfs_period_us": "100000\n",
    }
    assert cpu_quota(write_files(tmp_path, files)) == 2.5
    assert default_threads(tmp_path) == 3


def test_both_versions_at_once(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "1:cpu:/\n0::/unit\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "600000",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/unified/unit/cpu.max": "500000 100000",
    }
    assert cpu_quota(write_files(tmp_path, files)) == 5


def test_physical_cores(tmp_path: Path) -> None:
    assert default_threads(write_files(tmp_path, cores(8, per_core=2))) == 4


def test_cores_of_two_sockets_share_numbers(tmp_path: Path) -> None:
    assert default_threads(write_files(tmp_path, cores(8, per_core=1, sockets=2))) == 8


def test_affinity_limits_the_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, cores(8, per_core=2))
    monkeypatch.setattr(threads, "_affinity", lambda: frozenset({0, 1, 6}))
    assert default_threads(tmp_path) == 2


def test_variable_overrides_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, {"sys/fs/cgroup/cpu.max": "100000 100000"})
    monkeypatch.setenv(THREADS_VARIABLE, " 12 ")
    assert default_threads(tmp_path) == 12
    monkeypatch.setenv(THREADS_VARIABLE, "")
    assert default_threads(tmp_path) == 1


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_variable_must_be_a_number(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(THREADS_VARIABLE, text)
    with pytest.raises(DeviceError, match=r"VLSCORE_THREADS.*whole number of at least 1.*unset"):
        default_threads()


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)
    assert 1 <= default_threads() <= (os.cpu_count() or 1)
