"""The command `doctor`: what it looks at, what it tells, and how it ends."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine.manifest import MANIFEST
from runtime import machine
from runtime.bundles import DEFAULT_MODEL
from runtime.cli import bundle_reports
from runtime.cli.app import app
from runtime.devices import DEVICES, Finding
from tests.runtime.samples import write_files

NO_CPU = Finding("cpu", False, "ONNX Runtime is not installed", "pip install 'vlscore[cpu]'")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of bundles, and none shipped."""
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path))
    monkeypatch.setattr(bundle_reports, "SHIPPED", tmp_path / "shipped")
    return tmp_path


def run(*arguments: str) -> Any:
    """The result of a command line."""
    return CliRunner().invoke(app, ["doctor", *arguments])


def words(text: str) -> str:
    """Text without its layout."""
    return " ".join(text.split())


def test_tells_the_machine_every_device_and_the_settings(home: Path) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    told = words(result.stdout)
    for part in (
        "python",
        "platform",
        "processor",
        "cores",
        "threads used",
        "instructions",
        "memory",
        "onnxruntime",
        *DEVICES[1:],
    ):
        assert part in told
    assert "VLSCORE_HOME" in told
    assert str(home) in result.stdout.replace("\n", "")
    assert f"{DEFAULT_MODEL} missing" in told
    assert "python -m export.build" in told
    assert result.stderr == ""


@pytest.mark.usefixtures("home")
def test_json_has_it_all() -> None:
    told = json.loads(run("--json").stdout)
    assert told["usable"] is True
    assert [device["device"] for device in told["devices"]] == list(DEVICES[1:])
    assert all(device["usable"] or device["repair"] for device in told["devices"])
    assert told["machine"]["threads"] >= 1
    assert told["machine"]["allowed"] <= told["machine"]["cores"]
    assert set(told["machine"]["flags"] or machine.FLAGS) == set(machine.FLAGS)
    assert told["onnxruntime"]
    assert told["bundles"] == []
    assert told["default_model_found"] is False


@pytest.mark.usefixtures("home")
def test_no_usable_device_ends_with_1_and_tells_the_repair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.cli.doctor.findings", lambda: [NO_CPU])
    result = run()
    assert result.exit_code == 1
    assert "cpu no ONNX Runtime is not installed repair: pip install 'vlscore[cpu]'" in words(result.stdout)
    assert run("--json").exit_code == 1


@pytest.mark.usefixtures("home")
def test_rival_wheels_and_none_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runtime.cli.doctor.installed_wheels", list)
    assert "not installed" in run().stdout
    monkeypatch.setattr("runtime.cli.doctor.installed_wheels", lambda: ["onnxruntime", "onnxruntime-gpu"])
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.2.3")
    assert "onnxruntime 1.2.3, onnxruntime-gpu 1.2.3" in words(run().stdout)


@pytest.mark.usefixtures("home")
def test_a_bad_setting_is_told_and_is_no_failure_of_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLSCORE_THREADS", "many")
    told = json.loads(run("--json").stdout)
    assert told["machine"]["threads"] is None
    assert "VLSCORE_THREADS" in told["machine"]["threads_fault"]
    assert "a whole number of at least 1 is needed" in words(run().stdout)


# ---- bundles


@pytest.fixture
def bundle(home: Path, tiny_bundle: Path) -> Path:
    """A copy of a bundle that may be damaged."""
    return Path(shutil.copytree(tiny_bundle, home / "mine"))


@pytest.mark.usefixtures("bundle")
def test_whole_bundles_are_complete_and_verified(home: Path) -> None:
    shutil.copytree(home / "mine", home / ".mine.part")  # one being built
    (found,) = bundle_reports.bundles(verify=False)
    assert (found.name, found.fault, found.verified, found.trained, found.precision) == ("mine", "", False, False, "fp32")
    assert "mine complete" in words(run().stdout)
    pinned = hashlib.sha256((home / "mine" / "manifest.json").read_bytes()).hexdigest()
    assert found.sha256 == pinned
    assert pinned in "".join(run().stdout.split())  # whole, however narrow the terminal
    told = words(run("--verify").stdout)
    assert "mine verified" in told
    assert "random weights, fp32" in told


def test_the_default_model_is_not_missed_when_it_is_there(bundle: Path) -> None:
    bundle.rename(bundle.parent / DEFAULT_MODEL)
    assert "missing" not in run().stdout


def test_an_altered_file_is_only_seen_by_verify(bundle: Path) -> None:
    path = bundle / "templates.json"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert bundle_reports.bundles(verify=False)[0].fault == ""
    assert "altered" in bundle_reports.bundles(verify=True)[0].fault
    assert "mine broken" in words(run("--verify").stdout)


def test_a_cut_file_a_missing_file_and_no_manifest_are_seen_at_once(bundle: Path) -> None:
    path = bundle / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:100])
    assert "has 100 bytes instead of" in bundle_reports.bundles(verify=False)[0].fault
    path.unlink()
    assert "`tokenizer.json` is missing" in bundle_reports.bundles(verify=False)[0].fault
    assert "export.build" in bundle_reports.bundles(verify=False)[0].fault
    (bundle / MANIFEST).write_text("{}")
    assert "cannot be used" in bundle_reports.bundles(verify=False)[0].fault
    assert "mine broken" in words(run().stdout)


@pytest.mark.parametrize("verify", [False, True])
def test_a_bundle_without_its_image_half_serves_scenes(bundle: Path, verify: bool) -> None:
    for path in (*bundle.glob("image.onnx*"), *bundle.glob("masked.onnx*"), *bundle.glob("instant.onnx*")):
        path.unlink()
    (found,) = bundle_reports.bundles(verify=verify)
    assert (found.scenes_only, found.fault) == (True, "")
    assert "saved scenes only" in words(run().stdout)


# ---- the machine


def test_reads_processor_flags_and_memory(tmp_path: Path) -> None:
    cpu = "processor : 0\nmodel name\t: Fast Processor\nflags\t: fpu avx2 avx512f amx_int8\n\nprocessor : 1\nmodel name : Other\n"
    files = {"proc/cpuinfo": cpu, "proc/meminfo": "MemTotal: 2000 kB\nMemAvailable:  1500 kB\n"}
    found = machine.look(write_files(tmp_path, files))
    assert found.processor == "Fast Processor"
    assert found.flags == dict.fromkeys(machine.FLAGS, False) | {"avx2": True, "avx512f": True, "amx_int8": True}
    assert (found.memory_free, found.memory_total) == (1500 * 1024, 2000 * 1024)


def test_a_system_that_tells_nothing_is_unknown(tmp_path: Path) -> None:
    found = machine.look(tmp_path)
    assert found.processor
    assert (found.flags, found.memory_free, found.memory_total, found.quota) == (None, None, None, None)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sys/fs/cgroup/memory.max": "max", "sys/fs/cgroup/memory.current": "5"}, (1_024_000, 2_048_000)),
        ({"sys/fs/cgroup/memory.max": "1000", "sys/fs/cgroup/memory.current": "400"}, (600, 1000)),
        ({"sys/fs/cgroup/memory.max": "1000", "sys/fs/cgroup/memory.current": "1400"}, (0, 1000)),
        (
            {
                "proc/self/cgroup": "0::/user/me\n",
                "sys/fs/cgroup/user/memory.max": "3000",
                "sys/fs/cgroup/user/memory.current": "1000",
                "sys/fs/cgroup/user/me/memory.max": "max",
            },
            (2000, 3000),
        ),
        (
            {
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "700",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "600",
            },
            (100, 700),
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/docker/leaf\n",
                "sys/fs/cgroup/memory/docker/leaf/memory.limit_in_bytes": "900",
                "sys/fs/cgroup/memory/docker/leaf/memory.usage_in_bytes": "600",
            },
            (300, 900),
        ),
    ],
)
def test_the_control_group_may_grant_less_memory(files: dict[str, str], expected: tuple[int, int], tmp_path: Path) -> None:
    root = write_files(tmp_path, {"proc/meminfo": "MemTotal: 2000 kB\nMemAvailable: 1000 kB\n", **files})
    assert machine.memory(root) == expected
