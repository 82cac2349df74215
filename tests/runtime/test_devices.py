"""The device asked for is the device used, or an error that says asked, found, cause and repair."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime import DeviceError, Localizer, devices
from runtime.backends.session import Backend
from runtime.devices import CARDS, DEVICES, OPENERS, Wish, findings, open_backend, parse


def unavailable(wish: Wish) -> Backend:
    """What a backend does whose library is missing."""
    raise DeviceError("ONNX Runtime is not installed: `pip install 'vlscore[cpu]'`")


def test_the_devices() -> None:
    assert set(DEVICES) == {"auto", "cpu", "cuda", "tensorrt", "openvino"}


@pytest.mark.parametrize("device", ["cuda", "cuda:1", "tensorrt"])
def test_a_card_that_is_not_there_is_told_and_never_replaced(device: str, tiny_bundle: Path) -> None:
    with pytest.raises(DeviceError) as caught:
        Localizer(tiny_bundle, device=device)
    message = str(caught.value)
    assert message.startswith("asked for `")
    for part in ("; found ", "Cause: ", "--device cpu"):
        assert part in message


@pytest.mark.parametrize("device", ["gpu", "CPU", "", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "mps"])
def test_unknown_devices_are_answered_with_the_choice(device: str) -> None:
    with pytest.raises(DeviceError, match=rf"device `{device}` is unknown; choose from auto, cuda, cpu, openvino, tensorrt"):
        open_backend(device)


def test_a_card_has_a_number() -> None:
    assert [parse(device) for device in ("cuda", "cuda:0", "tensorrt:3", "cpu")] == [
        ("cuda", 0), ("cuda", 0), ("tensorrt", 3), ("cpu", 0),
    ]  # fmt: skip


def test_options_belong_to_cards() -> None:
    with pytest.raises(DeviceError, match="`device_options` belong to cuda and tensorrt; device `cpu` has none"):
        open_backend("cpu", options={"tf32": True})


@pytest.mark.parametrize(
    ("device", "options", "message"),
    [
        ("cuda", {"speed": 11}, "asked for `cuda` with options that it does not have: .*speed"),
        ("cuda:1", {"index": 0}, "give it once"),
        ("tensorrt", {"policy": "hope"}, "asked for the policy `hope`; found rebuild and refuse"),
        ("tensorrt", {"level": "high"}, "with options that it does not have: .*level"),
    ],
)
def test_options_that_do_not_exist_are_told(device: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        open_backend(device, options=options)


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_must_be_at_least_one(threads: int) -> None:
    with pytest.raises(
        DeviceError, match=rf"`threads` must be a whole number from 1 to 1024, got {threads}; leave it out to use \d"
    ):
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
    def broken(wish: Wish) -> Backend:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setitem(OPENERS, "cpu", broken)
    with pytest.raises(ZeroDivisionError):
        open_backend("auto")


def test_findings_cover_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {finding.device: finding for finding in findings()}
    assert set(found) == set(DEVICES) - {"auto"}
    assert found["cpu"].usable
    assert "ONNX Runtime" in found["cpu"].detail
    assert not any(found[name].usable for name in CARDS)
    monkeypatch.setitem(OPENERS, "cpu", unavailable)
    cpu = next(finding for finding in findings() if finding.device == "cpu")
    assert not cpu.usable
    assert "not installed" in cpu.detail
    assert cpu.repair


def test_device_errors_are_runtime_errors() -> None:
    with pytest.raises(RuntimeError):
        open_backend("cuda")
