"""How long a fresh interpreter takes: to import, to open a model, to answer nothing yet."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.compare.job import Job
from bench.compare.machine import ROOT
from bench.compare.statistics import middle
from bench.compare.workers import limited

OURS = """
import json, sys, time
start = time.perf_counter()
from runtime import Localizer
imported = time.perf_counter()
localizer = Localizer(sys.argv[1], device="cpu")
opened = time.perf_counter()
for graph in (*localizer.encoder.sessions.values(), localizer.answerer.session, localizer.text.session):
    graph.open()
print(json.dumps([imported - start, opened - imported, time.perf_counter() - opened]))
"""
THEIRS = """
import json, sys, time
start = time.perf_counter()
import torch, open_clip
from export.backbones import find_backbone
from export.weights import find_source, load
imported = time.perf_counter()
backbone = find_backbone(sys.argv[2])
load(backbone, find_source(backbone, sys.argv[3], None), 0)
print(json.dumps([imported - start, 0.0, time.perf_counter() - imported]))
"""
STEPS = ("import_s", "open_s", "load_s")


def cold(job: Job, repeats: int = 5) -> dict[str, dict[str, float]]:
    """Median seconds to import, to open (files checked) and to load all graphs or weights, by side."""
    found = {}
    for side, code in (("vlscore", OURS), ("torch", THEIRS)):
        rows = [fresh(code, job) for _ in range(repeats)]
        if all(rows):
            found[side] = {name: middle([row[place] for row in rows]).median for place, name in enumerate(STEPS)}
    return found


def fresh(code: str, job: Job) -> list[float]:
    """Run the code in a new interpreter; nothing when it fails, for instance for want of a bundle."""
    command = [sys.executable, "-c", code, job.bundle("fp32"), job.backbone, job.pretrained]
    with limited(job.threads):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    times: list[float] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else []
    return times
