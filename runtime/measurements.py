"""What `tune` measured on this machine, and what follows from it for `auto`. Another machine's measurements are ignored."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.manifest import Manifest, fingerprint
from engine.records import RecordError, from_json, shown, to_json
from runtime.bundles import bundle_home
from runtime.errors import DeviceError
from runtime.files import write_atomically
from runtime.machine import look

SCHEMA = 1
FOLDER = ".tuned"  # in the folder of bundles: a bundle may be shared or read-only, a measurement is of this machine
LIBRARIES = ("onnxruntime", "openvino")
COMMAND = "`vlscore tune`"


@dataclass(frozen=True, slots=True)
class TimedMachine:
    """What must be the same for a measurement to hold."""

    processor: str
    threads: int
    onnxruntime: str
    openvino: str


@dataclass(frozen=True, slots=True)
class Timing:
    """How fast masked passes run in one setting: the median over the rounds."""

    device: str
    precision: str
    threads: int
    passes_per_s: float


@dataclass(frozen=True, slots=True)
class Measurements:
    """A file of measurements."""

    schema: int
    backbone: str
    batch: int
    machine: TimedMachine
    timings: tuple[Timing, ...]


@dataclass(frozen=True)
class Advice:
    """The device and threads to use, or None; and why."""

    device: str | None
    threads: int | None
    reason: str


def advice(manifest: Manifest, precision: str | None = None) -> Advice:
    """What was measured for a bundle here. Without a precision only the bundle's own counts: numbers never change unasked."""
    wanted = precision or manifest.precision
    try:
        tuned = load(file_of(manifest))
    except FileNotFoundError:
        return Advice(None, None, f"not measured on this machine; {COMMAND} does")
    except (OSError, ValueError) as error:
        return Advice(None, None, f"the measurements cannot be read ({error}); {COMMAND} makes them anew")
    differing = differences(tuned.machine, this_machine())
    if differing:
        return Advice(None, None, f"measured elsewhere, so ignored ({differing}); {COMMAND} measures here")
    fitting = [timing for timing in tuned.timings if timing.precision == wanted]
    if not fitting:
        return Advice(None, None, f"no setting in {wanted} was measured; {COMMAND} measures all")
    best = max(fitting, key=lambda timing: timing.passes_per_s)
    return Advice(best.device, best.threads, f"measured here: {best.device} runs {best.passes_per_s:.4g} passes/s in {wanted}")


def this_machine() -> TimedMachine:
    """This machine, as far as it decides what is fast; a bad threads setting is told where threads are counted."""
    found = look()
    if found.threads is None:
        raise DeviceError(found.threads_fault)
    return TimedMachine(found.processor, found.threads, *(version(name) for name in LIBRARIES))


def differences(then: TimedMachine, now: TimedMachine) -> str:
    """What is not as it was, in words; nothing when all is."""
    before, after = to_json(then), to_json(now)
    return ", ".join(
        f"{name} was {before[name] or 'not there'}, is {after[name] or 'not there'}"
        for name in before
        if before[name] != after[name]
    )


def version(name: str) -> str:
    """The version of a library, or nothing when it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def file_of(manifest: Manifest) -> Path:
    """The file of a bundle's measurements; a bundle that is built anew differs, and so does its file."""
    return bundle_home() / FOLDER / f"{fingerprint(manifest)[:32]}.json"


def load(path: Path) -> Measurements:
    """Read measurements; raises OSError or ValueError."""
    data = json.loads(path.read_text(encoding="utf-8"))
    found = data.get("schema") if isinstance(data, dict) else None
    if found != SCHEMA:
        raise RecordError(f"schema {shown(found)}, this version reads {SCHEMA}")
    return from_json(Measurements, data, "measurements")


def keep(manifest: Manifest, timings: Sequence[Timing]) -> Path:
    """Write measurements to where `auto` looks; the file appears whole or not at all."""
    path = file_of(manifest)
    tuned = Measurements(SCHEMA, manifest.backbone, manifest.batch, this_machine(), tuple(timings))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(to_json(tuned), indent=1) + "\n").encode())
    except OSError as error:
        raise DeviceError(
            f"the measurements cannot be kept in `{path.parent}` ({error}); set `VLSCORE_HOME` elsewhere"
        ) from error
    return path
