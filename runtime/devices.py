"""Which devices there are, what this machine can run, and the strict choice of one: asked for is used, or an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from runtime.backends.onnx_cpu import OnnxCpuBackend
from runtime.backends.protocol import Backend
from runtime.errors import DeviceError
from runtime.threads import default_threads

Device = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]

NOT_YET = "this version of vlscore has no {} backend yet"


@dataclass(frozen=True)
class Finding:
    """What one device is good for on this machine."""

    device: str
    usable: bool
    detail: str
    repair: str


def open_cpu(threads: int) -> Backend:
    """Make the CPU backend."""
    return OnnxCpuBackend(threads)


# Fastest first: what `auto` tries, in this order. A backend that comes later joins here.
OPENERS: dict[str, Callable[[int], Backend]] = {"cpu": open_cpu}
PLANNED = {"tensorrt": "TensorRT", "cuda": "CUDA", "openvino": "OpenVINO"}
DEVICES: tuple[str, ...] = ("auto", *OPENERS, *PLANNED)


def open_backend(device: str, threads: int | None = None) -> Backend:
    """Open the device asked for, or say why it cannot be had; only `auto` may choose."""
    count = default_threads() if threads is None else threads
    if count < 1:
        raise DeviceError(f"`threads` must be at least 1, got {threads}; leave it out to use {default_threads()}")
    if device not in DEVICES:
        raise DeviceError(f"device `{device}` is unknown; choose from {', '.join(DEVICES)}")
    if device != "auto":
        return open_named(device, count)
    reasons = []
    for name, opener in OPENERS.items():
        try:
            return opener(count)
        except DeviceError as error:
            reasons.append(f"{name}: {error}")
    raise DeviceError("no device can be used on this machine\n" + "\n".join(reasons))


def open_named(device: str, threads: int) -> Backend:
    """Open exactly this device."""
    if device in PLANNED:
        found = [finding.device for finding in findings() if finding.usable]
        raise DeviceError(
            f"asked for `{device}`; found {', '.join(found) or 'no usable device'}. Cause: {NOT_YET.format(PLANNED[device])}, "
            'and it never falls back in silence. Use `device="cpu"` or `--device cpu`; `python -m runtime doctor` lists what '
            "runs here"
        )
    return OPENERS[device](threads)


def findings() -> list[Finding]:
    """Look at every device, without loading a model."""
    found = []
    for name, opener in OPENERS.items():
        try:
            found.append(Finding(name, True, opener(default_threads()).detail, ""))
        except DeviceError as error:
            # The message ends with the command that repairs this very fault.
            found.append(Finding(name, False, str(error), "as said"))
    return [*found, *(Finding(name, False, NOT_YET.format(title), "use `--device cpu`") for name, title in PLANNED.items())]
