"""An NVIDIA card as its driver's own tool sees it. Only read, never set."""

from __future__ import annotations

import os
import subprocess
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from bench.compare.task import UnavailableError

PATIENCE_S = 20.0
FACTS = {
    "name": ("product_name",),
    "memory_mib": ("fb_memory_usage/total",),
    "power_limit_w": ("gpu_power_readings/current_power_limit", "power_readings/power_limit"),
    "max_sm_mhz": ("max_clocks/sm_clock",),
    "pcie_generation": ("pci/pci_gpu_link_info/pcie_gen/current_link_gen",),
    "mig": ("mig_mode/current_mig",),
}
STATE = {
    "sm_mhz": ("clocks/sm_clock",),
    "memory_mhz": ("clocks/mem_clock",),
    "temperature_c": ("temperature/gpu_temp",),
    "power_w": ("gpu_power_readings/instant_power_draw", "gpu_power_readings/power_draw", "power_readings/power_draw"),
    "used_mib": ("fb_memory_usage/used",),
    "utilisation_percent": ("utilization/gpu_util",),
}
FITTING = ((16000, 256), (8000, 128), (0, 64))  # MiB of the card, masked passes per run beside the others of a group


def read_card(number: int) -> dict[str, Any]:
    """What the card is, who else is on it, and how it does; raises UnavailableError when the driver cannot be asked."""
    root, gpu = ask_driver(number)
    used = [(each.findtext("process_name", ""), each.findtext("used_memory", "")) for each in gpu.iter("process_info")]
    return {
        **read_fields(gpu, FACTS),
        "driver": root.findtext("driver_version"),
        "cuda": root.findtext("cuda_version"),
        # The bare name of a program: a path would tell of the machine, not of the measurement.
        "others": [f"{name.rpartition('/')[2]}, {memory}" for name, memory in used],
    }


def read_state(number: int) -> dict[str, Any]:
    """How the card does now: clocks, heat, memory, and what holds it back; empty where it cannot be asked."""
    try:
        _, gpu = ask_driver(number)
    except UnavailableError:
        return {}
    reasons = [each.tag for name in ("clocks_event_reasons", "clocks_throttle_reasons") for each in gpu.findall(f"{name}/*")
               if each.text == "Active"]  # fmt: skip
    return {**read_fields(gpu, STATE), "held_back": [reason.partition("reason_")[2] or reason for reason in reasons]}


def ask_driver(number: int) -> tuple[Element, Element]:
    """Everything that `nvidia-smi` says, and what it says of one card."""
    words = ["nvidia-smi", "-q", "-x", "-i", card_id(number)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except FileNotFoundError:
        raise UnavailableError("`nvidia-smi` was not found: no NVIDIA driver is installed here") from None
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"`nvidia-smi` gave no answer in {PATIENCE_S:.0f} s") from None
    if done.returncode:
        raise UnavailableError(f"`nvidia-smi` failed: {' '.join((done.stderr or done.stdout).split())[:200]}")
    root = ElementTree.fromstring(done.stdout)
    gpu = root.find("gpu")
    if gpu is None:
        raise UnavailableError(f"`nvidia-smi` knows no card {number}")
    return root, gpu


def card_id(number: int) -> str:
    """What `nvidia-smi` calls a card: it does not follow `CUDA_VISIBLE_DEVICES`, which renumbers the cards for everybody else."""
    shown = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return shown[number] if number < len(shown) else str(number)


def read_fields(gpu: Element, fields: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Fields by the first of their names that this driver knows: numbers without their unit, None where there is nothing."""
    found: dict[str, Any] = {}
    for name, paths in fields.items():
        text = next((text.strip() for path in paths if (text := gpu.findtext(path))), "")
        number = text.split(" ")[0]
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = None if text in ("", "N/A", "[N/A]") else text
    return found


def fitting_batch(memory_mib: float) -> int:
    """Masked passes per run that a card has room for."""
    return next(batch for least, batch in FITTING if memory_mib >= least)
