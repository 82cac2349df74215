"""Which devices there are, what this machine can run, and the strict choice of one: asked for is used, or an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from engine.manifest import Manifest
from runtime.backends.onnx_cpu import OnnxCpuBackend
from runtime.backends.openvino_cpu import OpenVinoBackend
from runtime.backends.protocol import Backend
from runtime.backends.tensorrt import TensorRTBackend
from runtime.errors import DeviceError
from runtime.precision import check_built, choose_precision
from runtime.threads import default_threads
from runtime.tuned import advice

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
    """Make ONNX Runtime's CPU backend."""
    return OnnxCpuBackend(threads)


def open_openvino(threads: int) -> Backend:
    """Make OpenVINO's CPU backend."""
    return OpenVinoBackend(threads)


def open_tensorrt(threads: int) -> Backend:
    """Make the TensorRT backend; its work is the card's, so threads do not matter."""
    return TensorRTBackend()


# What `auto` tries, in this order, unless `python -m runtime tune` measured better. A backend that comes later joins here.
# ONNX Runtime comes before OpenVINO: it opens graphs several times faster, and RN50 runs as fast in float32.
OPENERS: dict[str, Callable[[int], Backend]] = {"cpu": open_cpu, "openvino": open_openvino, "tensorrt": open_tensorrt}
PLANNED = {"cuda": "CUDA"}
ON_REQUEST = ("tensorrt",)  # never chosen by `auto`: it builds engines first, which takes minutes
DEVICES: tuple[str, ...] = ("auto", *OPENERS, *PLANNED)


def open_backend(device: str, threads: int | None = None) -> Backend:
    """Open the device asked for, or say why it cannot be had; only `auto` may choose."""
    count = count_threads(threads)
    if device not in DEVICES:
        raise DeviceError(f"device `{device}` is unknown; choose from {', '.join(DEVICES)}")
    return open_first(automatic(), count) if device == "auto" else open_named(device, count)


def automatic() -> list[str]:
    """The devices that `auto` may choose."""
    return [name for name in OPENERS if name not in ON_REQUEST]


def open_for(manifest: Manifest, device: str, precision: str | None, threads: int | None) -> tuple[Backend, str, str]:
    """Open a device for a bundle; give it, the precision of its masked passes, and why it was chosen."""
    check_built(precision, manifest.precision)
    if device == "auto":
        backend, reason = open_auto(manifest, precision, threads)
    else:
        backend, reason = open_backend(device, threads), "asked for"
    return backend, choose_precision(precision, manifest.precision, backend), reason


def open_auto(manifest: Manifest, precision: str | None, threads: int | None) -> tuple[Backend, str]:
    """Open what was measured to be fastest here, or else the first device that works; and say why that one."""
    count = count_threads(threads)
    tuned = advice(manifest, precision)
    order = sorted(automatic(), key=lambda name: name != tuned.device)
    if tuned.device in OPENERS and threads is None and tuned.threads is not None:
        count = tuned.threads
    backend = open_first(order, count, lambda backend: choose_precision(precision, manifest.precision, backend))
    return backend, tuned.reason


def open_first(order: list[str], threads: int, check: Callable[[Backend], object] = lambda backend: None) -> Backend:
    """Open the first of these devices that can be had and passes the check, or say of each why not."""
    reasons = []
    for name in order:
        try:
            backend = OPENERS[name](threads)
            check(backend)
        except DeviceError as error:
            reasons.append(f"{name}: {error}")
        else:
            return backend
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


def count_threads(threads: int | None) -> int:
    """The threads to use: as asked, else as many as this process may use."""
    count = default_threads() if threads is None else threads
    if count < 1:
        raise DeviceError(f"`threads` must be at least 1, got {threads}; leave it out to use {default_threads()}")
    return count


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
