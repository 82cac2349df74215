"""Whether eight bits are truly faster here: the masked graph before and after, side by side on this machine."""

from __future__ import annotations

import statistics
from pathlib import Path

from runtime.tuning import Passes, Setting, open_graph, settings, timed

ROUNDS = 5
LEAST_GAIN = 1.1  # less is noise

Speeds = dict[str, dict[str, float]]  # passes per second by device and precision


class SpeedError(RuntimeError):
    """A precision that costs accuracy and brings no speed."""


def compare(before: Path, after: Path, passes: Passes) -> Speeds:
    """Passes per second of two masked graphs on every device that is here, taking turns; the median of the rounds."""
    inputs = passes.example_inputs()
    speeds: Speeds = {}
    for setting in most_threads(passes.precision):
        sessions = {
            "fp32": open_graph(Setting(setting.device, "fp32", setting.threads), before),
            passes.precision: open_graph(setting, after),
        }
        for session in sessions.values():
            session.run(inputs)
        rounds = [{name: timed(session, inputs) for name, session in sessions.items()} for _ in range(ROUNDS)]
        speeds[setting.device] = {
            name: float(f"{passes.batch / statistics.median(one[name] for one in rounds):.4g}") for name in sessions
        }
    return speeds


def most_threads(precision: str) -> list[Setting]:
    """One setting per device, with all its threads."""
    found: dict[str, Setting] = {}
    for setting in settings(precision):
        found.setdefault(setting.device, setting)
    return list(found.values())


def check(speeds: Speeds, precision: str) -> None:
    """Raise SpeedError, with the figures, unless the best device is faster than the best one in float32."""
    best, usual = (max(speed[name] for speed in speeds.values()) for name in (precision, "fp32"))
    if best < LEAST_GAIN * usual:
        told = "; ".join(f"{device}: {speed[precision]:g} after {speed['fp32']:g} in fp32" for device, speed in speeds.items())
        raise SpeedError(
            f"the {precision} bundle is not truly faster here and was not kept (passes/s: {told}); it has to be "
            f"{LEAST_GAIN:g} times as fast. Use the fp32 bundle, or run it in bf16: `--precision bf16` where the processor has it"
        )
