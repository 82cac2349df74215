"""Groups of measurements, each in a process of its own; the record is written after every one, and a second run goes on."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from bench.gpu.answers import compare, read_reference
from bench.gpu.plan import Group, groups
from bench.gpu.rtx import import_rtx
from engine.manifest import MANIFEST
from runtime import Localizer
from runtime.backends.tensorrt import TensorRTBackend
from runtime.files import write_atomically
from runtime.machine import look

PATIENCE_S = 400.0  # for one group
LEAST_S, FEWEST, MOST = 3.0, 3, 30  # what is timed is repeated
Say = Callable[[str], None]


def measure(folder: Path, backbone: str, devices: tuple[str, ...], minutes: float, say: Say) -> int:
    """Run the groups that are not in the record yet, as long as there is time; gives the number of faults in it."""
    file, end = folder / f"record-{backbone}-{devices[0]}.json", time.monotonic() + 60 * minutes
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"groups": {}}
    for group in groups(backbone, devices):
        bundle = folder / "bundles" / group.bundle
        if not (bundle / MANIFEST).is_file():
            say(f"{group.name}: left out, there is no such bundle")
            continue
        digest = hashlib.sha256((bundle / MANIFEST).read_bytes()).hexdigest()
        if record["groups"].get(group.name, {}).get("bundle") == digest:
            say(f"{group.name}: in the record")
            continue
        if time.monotonic() > end:
            say(f"the {minutes:g} minutes are over; run this again to go on")
            break
        found = run_apart(folder, group)
        record |= {"machine": about(), "date": datetime.now(UTC).date().isoformat()}
        record["groups"][group.name] = {"bundle": digest, **found} if "failed" not in found else found
        write_atomically(file, (json.dumps(record, indent=1) + "\n").encode())
        say(f"{group.name}: {told(found)}")
    return sum(bool(one.get("failed") or one.get("fault")) for one in record["groups"].values())


def run_apart(folder: Path, group: Group) -> dict[str, Any]:
    """One group in a fresh process: what crashes or hangs there costs the others nothing."""
    here = [sys.executable, *(["-S"] if sys.flags.no_site else [])]  # packages that were carried along are found without
    words = [*here, "-m", "bench.gpu", "group", "--folder", str(folder), "--group", json.dumps(asdict(group))]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"no answer in {PATIENCE_S:.0f} s"}
    if done.returncode:
        return {"failed": " ".join((done.stderr or f"ended with {done.returncode}").split())[-400:]}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def run_group(folder: Path, group: Group) -> dict[str, Any]:
    """Open a bundle as a group says, hold its answers against the reference, and time a picture and a further question."""
    questions = read_reference(folder / "reference" / group.backbone)
    # TensorRT-RTX has no name among the devices: it is given.
    own = group.device == "tensorrt-rtx"
    chosen: dict[str, Any] = {"backend": TensorRTBackend(trt=import_rtx())} if own else {"device": group.device}
    localizer = Localizer(folder / "bundles" / group.bundle, **chosen, **group.options)
    found: dict[str, Any] = {"device": localizer.info["backend"], "batch": localizer.manifest.batch}
    if group.options.get("preset", "exact") == "exact":
        found |= compare(localizer, questions, localizer.precision, trained=localizer.manifest.weights.trained)
    first = questions[0]
    scene = localizer.encode(first.picture)
    found["passes"] = scene.passes
    found["picture_ms"] = quartiles(lambda: localizer(first.picture, first.words))
    found["question_ms"] = quartiles(lambda: localizer.locate(scene, first.words))
    return found | {name: localizer.info[name] for name in ("shrunk", "retried") if localizer.info.get(name)}


def quartiles(work: Callable[[], object]) -> list[float]:
    """Milliseconds of some work: median, first and third quartile; its first run is not counted."""
    work()
    taken: list[float] = []
    while len(taken) < FEWEST or (sum(taken) < LEAST_S and len(taken) < MOST):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return [float(f"{1000 * value:.4g}") for value in np.percentile(taken, [50, 25, 75])]


def told(found: dict[str, Any]) -> str:
    """A group in a line."""
    if "failed" in found:
        return f"failed: {found['failed']}"
    error = f", scores off by {found['relative_error']:.2g} of their spread" if "relative_error" in found else ""
    return f"{found['picture_ms'][0]:g} ms a picture{error}{'; FAULT: ' + found['fault'] if found.get('fault') else ''}"


def about() -> dict[str, Any]:
    """The machine, as far as it tells."""
    seen = look()
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,power.limit", "--format=csv,noheader"]
    try:
        cards = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=False).stdout.split("\n")
    except (OSError, subprocess.TimeoutExpired):
        cards = []
    return {"processor": seen.processor, "cores": seen.allowed, "python": seen.python, "cards": [line for line in cards if line]}
