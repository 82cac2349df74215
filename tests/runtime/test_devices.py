"""The device asked for is the device used, or an error that says asked, found, cause and repair."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime import DeviceError, Localizer, devices
from runtime.backends.protocol import Backend
from runtime.devices import DEVICES, OPENERS, PLANNED, findings, open_backend


def unavailable(threads: int) -> Backend:
    """What a backend does whose library is missing."""
    raise DeviceError("ONNX Runtime is not installed: `pip install 'vlscore[cpu]'`")


def test_the_devices() -> None:
    assert set(DEVICES) == {"auto", "cpu", "cuda", "tensorrt", "openvino"}


@pytest.mark.parametrize("device", sorted(PLANNED))
def test_a_planned_device_says_what_runs_instead(device: str) -> None:
    with pytest.raises(DeviceError) as caught:
        open_backend(device)
    message = str(caught.value)
    assert message.startswith(f"asked for `{device}`; found cpu, openvino. Cause: ")
    assert f"no {PLANNED[device]} backend yet" in message
    assert "--device cpu" in message
    assert "python -m runtime doctor" in message


@pytest.mark.parametrize("device", sorted(PLANNED))
def test_a_planned_device_never_falls_back(device: str, tiny_bundle: Path) -> None:
    with pytest.raises(DeviceError, match=f"asked for `{device}`"):
        Localizer(tiny_bundle, device=device)


def test_nothing_usable_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "OPENERS", {"cpu": unavailable})
    with pytest.raises(DeviceError, match="asked for `cuda`; found no usable device"):
        open_backend("cuda")


@pytest.mark.parametrize("device", ["gpu", "CPU", "", "cuda:0", "mps"])
def test_unknown_devices_are_answered_with_the_choice(device: str) -> None:
    with pytest.raises(DeviceError, match=rf"device `{device}` is unknown; choose from auto, cpu, openvino, tensorrt, cuda"):
        open_backend(device)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_at_least_one(threads: int) -> None:
    with pytest.raises(DeviceError, match=rf"`threads` must be at least 1, got {threads}; leave it out to use \d"):
        open_backend("cpu", threads)


def test_threads_are_used_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_backend("cpu", 3).detail.endswith(", 3 threads")
    assert open_backend("cpu", 1).detail.endswith(", 1 thread")
    monkeypatch.setenv("VLSCORE_THREADS", "5")
    assert open_backend("cpu").detail.endswith(", 5 threads")


def test_auto_tells_what_it_chose(tiny_bundle: Path) -> None:
    localizer = Localizer(tiny_bundle)
    assert localizer.device == localizer.info["device"] == "cpu"
    assert "ONNX Runtime" in localizer.info["backend"]


def test_auto_takes_the_first_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "OPENERS", {"best": unavailable, **OPENERS})
    assert open_backend("auto").device == "cpu"


def test_auto_with_nothing_says_why_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "OPENERS", {"best": unavailable, "cpu": unavailable})
    with pytest.raises(DeviceError, match=r"no device can be used on this machine\nbest: ONNX.*\ncpu: ONNX.*vlscore\[cpu\]"):
        open_backend("auto")


def test_auto_does_not_hide_other_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(threads: int) -> Backend:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setitem(OPENERS, "cpu", broken)
    with pytest.raises(ZeroDivisionError):
        open_backend("auto")


def test_findings_cover_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {finding.device: finding for finding in findings()}
    assert set(found) == set(DEVICES) - {"auto"}
    assert found["cpu"].usable
    assert "ONNX Runtime" in found["cpu"].detail
    assert not any(found[name].usable for name in PLANNED)
    monkeypatch.setitem(OPENERS, "cpu", unavailable)
    cpu = next(finding for finding in findings() if finding.device == "cpu")
    assert not cpu.usable
    assert "not installed" in cpu.detail
    assert cpu.repair


def test_device_errors_are_runtime_errors() -> None:
    with pytest.raises(RuntimeError):
        open_backend("cuda")
