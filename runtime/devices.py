"""Which devices there are, what this machine can run, and the strict choice of one: asked for is used, or an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from engine.manifest import Manifest
from engine.records import shown
from runtime.backends.onnx_cpu import OnnxCpuBackend
from runtime.backends.onnx_cuda import OnnxCudaBackend, read_options
from runtime.backends.openvino_cpu import OpenVinoBackend
from runtime.backends.session import Backend
from runtime.backends.tensorrt import TensorRTBackend
from runtime.errors import DeviceError
from runtime.logs import LOG
from runtime.measurements import advice
from runtime.precision import check_built, choose_precision
from runtime.threads import default_threads

Cuda = Literal["cuda", "cuda:0", "cuda:1", "cuda:2", "cuda:3", "cuda:4", "cuda:5", "cuda:6", "cuda:7"]
TensorRT = Literal["tensorrt", "tensorrt:0", "tensorrt:1", "tensorrt:2", "tensorrt:3"]
Device = Literal["auto", "cpu", "openvino", Cuda, TensorRT]


@dataclass(frozen=True)
class Finding:
    """What one device is good for on this machine."""

    device: str
    usable: bool
    detail: str
    repair: str


@dataclass(frozen=True)
class Wish:
    """How a device is wanted: threads for those that run on cores, the card's number and options for the others."""

    threads: int
    index: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


def open_cpu(wish: Wish) -> Backend:
    """Make ONNX Runtime's CPU backend."""
    return OnnxCpuBackend(wish.threads)


def open_openvino(wish: Wish) -> Backend:
    """Make OpenVINO's CPU backend."""
    return OpenVinoBackend(wish.threads)


def open_cuda(wish: Wish) -> Backend:
    """Make ONNX Runtime's CUDA backend."""
    return OnnxCudaBackend(read_options(wish.options, wish.index))


def open_tensorrt(wish: Wish) -> Backend:
    """Make the TensorRT backend."""
    return TensorRTBackend.from_options(wish.options, wish.index)


# What `auto` tries, in this order, unless `vlscore tune` measured better. A card comes before all cores, and ONNX
# Runtime before OpenVINO: it opens graphs several times faster, and RN50 runs as fast in float32.
OPENERS: dict[str, Callable[[Wish], Backend]] = {
    "cuda": open_cuda,
    "cpu": open_cpu,
    "openvino": open_openvino,
    "tensorrt": open_tensorrt,
}
ON_REQUEST = ("tensorrt",)  # never chosen by `auto`: it builds engines first, which takes minutes
CARDS = ("cuda", "tensorrt")  # may be followed by a card's number: `cuda:1`
MOST_THREADS = 1024
AS_SAID = "as said"  # the message itself ends with what to do
DEVICES: tuple[str, ...] = ("auto", *OPENERS)


def open_backend(device: str, threads: int | None = None, options: Mapping[str, Any] | None = None) -> Backend:
    """Open the device asked for, or say why it cannot be had; only `auto` may choose."""
    name, index = parse(device)
    wish = Wish(count_threads(threads), index, options or {})
    if wish.options and name not in CARDS:
        raise DeviceError(f"`device_options` belong to {' and '.join(CARDS)}; device `{device}` has none: leave them out")
    return open_first(automatic(), wish) if name == "auto" else OPENERS[name](wish)


def parse(device: str) -> tuple[str, int]:
    """A device's name, and which card of its kind."""
    if not isinstance(device, str):
        raise DeviceError(f"`device` must be one of {', '.join(DEVICES)}, found {shown(device)} ({type(device).__name__})")
    name, colon, number = device.partition(":")
    if name in DEVICES and not colon:
        return name, 0
    if name in CARDS and number.isdecimal() and len(number) < 4:
        return name, int(number)
    raise DeviceError(f"device `{device:.80}` is unknown; choose from {', '.join(DEVICES)}; a card may have a number: `cuda:1`")


def automatic() -> list[str]:
    """The devices that `auto` may choose."""
    return [name for name in OPENERS if name not in ON_REQUEST]


def open_for(
    manifest: Manifest, device: str, precision: str | None, threads: int | None, options: Mapping[str, Any] | None = None
) -> tuple[Backend, str, str]:
    """Open a device for a bundle; give it, the precision of its masked passes, and why it was chosen."""
    check_built(precision, manifest.precision)
    parse(device)
    if options is not None and not isinstance(options, Mapping):
        raise DeviceError(f"`device_options` must hold named options, found {shown(options)} ({type(options).__name__})")
    if device == "auto" and not options:
        backend, reason = open_auto(manifest, precision, threads)
    else:
        backend, reason = open_backend(device, threads, options), "asked for"
    LOG.info("device %s, %s: %s", backend.device, backend.detail, reason)
    return backend, choose_precision(precision, manifest.precision, backend), reason


def open_auto(manifest: Manifest, precision: str | None, threads: int | None) -> tuple[Backend, str]:
    """Open what was measured to be fastest here, or else the first device that works; and say why that one."""
    count = count_threads(threads)
    tuned = advice(manifest, precision)
    order = sorted(automatic(), key=lambda name: name != tuned.device)
    if tuned.device in OPENERS and threads is None and tuned.threads is not None:
        count = tuned.threads
    backend = open_first(order, Wish(count), lambda backend: choose_precision(precision, manifest.precision, backend))
    return backend, tuned.reason


def open_first(order: list[str], wish: Wish, check: Callable[[Backend], object] = lambda backend: None) -> Backend:
    """Open the first of these devices that can be had and passes the check, or say of each why not."""
    reasons = []
    for name in order:
        try:
            backend = OPENERS[name](wish)
            check(backend)
        except DeviceError as error:
            LOG.debug("device %s cannot be used: %s", name, error)
            reasons.append(f"{name}: {error}")
        else:
            return backend
    raise DeviceError("no device can be used on this machine\n" + "\n".join(reasons))


def count_threads(threads: int | None) -> int:
    """The threads to use: as asked, else as many as this process may use."""
    if threads is None:
        return default_threads()
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise DeviceError(
            f"`threads` must be a whole number from 1 to {MOST_THREADS}, got {shown(threads)}; leave it out to use "
            f"{default_threads()}"
        )
    return threads


def findings() -> list[Finding]:
    """Look at every device, without loading a model."""
    found = []
    for name, opener in OPENERS.items():
        try:
            found.append(Finding(name, True, opener(Wish(default_threads())).detail, ""))
        except DeviceError as error:
            fault, _, repair = str(error).partition(" Repair: ")
            found.append(Finding(name, False, fault, repair or AS_SAID))
    return found
