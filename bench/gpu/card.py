"""The card: what it is, how it does, who else is on it. Only read, never set."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
from typing import Any

from bench.compare.job import UnavailableError

FACTS = {
    "name": "name",
    "compute_capability": "compute_cap",
    "driver": "driver_version",
    "memory_mib": "memory.total",
    "power_limit_w": "power.limit",
    "max_sm_mhz": "clocks.max.sm",
    "max_memory_mhz": "clocks.max.memory",
    "pcie_generation": "pcie.link.gen.current",
    "mig": "mig.mode.current",
}
STATE = {
    "sm_mhz": "clocks.sm",
    "memory_mhz": "clocks.mem",
    "temperature_c": "temperature.gpu",
    "power_w": "power.draw",
    "performance_state": "pstate",
    "throttled": "clocks_event_reasons.active",
    "used_mib": "memory.used",
    "utilisation_percent": "utilization.gpu",
}
LIBRARIES = (
    "torch", "onnxruntime", "onnxruntime-gpu", "tensorrt", "tensorrt-cu12", "tensorrt-cu13", "cuda-bindings",
    "nvidia-cudnn-cu12", "nvidia-cudnn-cu13", "open_clip_torch", "onnx", "numpy",
)  # fmt: skip
PATIENCE_S = 20.0


def ask(words: list[str]) -> str:
    """What `nvidia-smi` says; raises UnavailableError when it cannot be asked."""
    try:
        done = subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except FileNotFoundError:
        raise UnavailableError("`nvidia-smi` was not found: no NVIDIA driver is installed here") from None
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"`nvidia-smi` gave no answer in {PATIENCE_S:.0f} s") from None
    if done.returncode:
        raise UnavailableError(f"`nvidia-smi` failed: {' '.join((done.stderr or done.stdout).split())[:200]}")
    return done.stdout


def query(fields: dict[str, str], number: int) -> dict[str, Any]:
    """Fields of one card. Drivers differ in what they know, and one unknown field fails the whole query: then one by one."""
    try:
        line = ask([f"--query-gpu={','.join(fields.values())}", "--format=csv,noheader,nounits", f"--id={identifier(number)}"])
        return dict(zip(fields, (value(word) for word in line.strip().split(",")), strict=True))
    except (UnavailableError, ValueError):
        ask(["--list-gpus"])  # raises when the trouble is not a field
    found = {}
    for name, field in fields.items():
        try:
            found[name] = value(ask([f"--query-gpu={field}", "--format=csv,noheader,nounits", f"--id={identifier(number)}"]))
        except UnavailableError:
            found[name] = None
    return found


def value(word: str) -> str | float | None:
    """A number where it is one, nothing where the card has none."""
    word = word.strip()
    if not word or word.startswith(("[", "N/A")):
        return None
    try:
        return float(word)
    except ValueError:
        return word


def others(number: int) -> list[str]:
    """Processes that compute on the card; in a container they may not be shown."""
    lines = ask(
        ["--query-compute-apps=pid,process_name,used_memory", "--format=csv,noheader", f"--id={identifier(number)}"]
    ).splitlines()
    # The bare name of a program: a path would tell of the machine, not of the measurement.
    return [f"{one[1].strip().rpartition('/')[2]}, {one[2].strip()}" for line in lines if len(one := line.split(",")) == 3]


def describe(number: int) -> dict[str, Any]:
    """All that is told about a card before the first clock."""
    found = query(FACTS, number)
    capability = found.get("compute_capability")
    found["compute_capability"] = None if capability is None else str(capability)
    return {**found, "before": query(STATE, number), "others": others(number), "cuda": cuda_version()}


def state(number: int) -> dict[str, Any]:
    """How the card does now; empty where it cannot be asked."""
    try:
        return query(STATE, number)
    except UnavailableError:
        return {}


def identifier(number: int) -> str:
    """What `nvidia-smi` calls a card: it does not follow `CUDA_VISIBLE_DEVICES`, which renumbers the cards for everybody else."""
    shown = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return shown[number] if number < len(shown) else str(number)


def cuda_version() -> str:
    """The CUDA version that the driver can run."""
    for line in ask([]).splitlines():
        if "CUDA Version:" in line:
            return line.partition("CUDA Version:")[2].split()[0]
    return ""


def versions() -> dict[str, str]:
    """The libraries that are installed, of those that matter here."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def number_of(device: str) -> int:
    """The card's number in `cuda:1`."""
    number = device.partition(":")[2]
    if number and not number.isdecimal():
        raise ValueError(f"device `{device}` must end with a card's number, as in `cuda:1`")
    return int(number or 0)
