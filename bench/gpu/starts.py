"""A fresh interpreter: seconds to import, to open, and to the first answer."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from bench.compare.job import Job
from bench.compare.machine import ROOT
from bench.compare.rows import rounded
from bench.compare.ways import Way
from bench.compare.workers import limited

CODE = """
import json, sys, time
start = time.perf_counter()
from runtime import Localizer
imported = time.perf_counter()
options = json.loads(sys.argv[2])
localizer = Localizer(sys.argv[1], **options)
opened = time.perf_counter()
localizer(sys.argv[3], sys.argv[4])
first = time.perf_counter()
localizer(sys.argv[3], sys.argv[4])
print(json.dumps([imported - start, opened - imported, first - opened, time.perf_counter() - first]))
"""
STEPS = ("import_s", "open_s", "first_picture_s", "next_picture_s")


def cold(way: Way, job: Job, deadline: float) -> dict[str, float] | str:
    """Seconds by step, or why there are none."""
    options = {name: value for name, value in way.options.items() if name != "bundle"}
    asked = json.dumps({"spec": job.spec, **options})
    words = [sys.executable, "-c", CODE, job.bundle(way.options.get("bundle", "fp32")), asked, job.picture, job.query]
    try:
        with limited(job.threads):
            left = max(0.1, deadline - time.monotonic())
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=left, check=False)
    except subprocess.TimeoutExpired:
        return "not finished in its share of the time"
    if done.returncode:
        return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1][:300]
    times = json.loads(done.stdout.splitlines()[-1])
    return {name: rounded(value) for name, value in zip(STEPS, times, strict=True)}
