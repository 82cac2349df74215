"""How long a fresh interpreter takes: to import, to open a model, to answer nothing yet."""

from __future__ import annotations

import json
import subprocess
import sys

from bench.compare.job import Job, UnavailableError
from bench.compare.machine import ROOT
from bench.compare.rounds import Say
from bench.compare.statistics import middle
from bench.compare.workers import limited

OURS = """
import json, sys, time
start = time.perf_counter()
from runtime import Localizer, Query
imported = time.perf_counter()
localizer = Localizer(sys.argv[1], device="cpu")
opened = time.perf_counter()
for graph in (*localizer.encoder.sessions.values(), localizer.answerer.session):
    graph.open()
localizer.text.embed([Query(("words that open the graph of short texts",))])
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


def cold(job: Job, say: Say, repeats: int = 5) -> dict[str, dict[str, float]]:
    """Median seconds to import, to open (files checked) and to load all graphs or weights, by side."""
    found = {}
    for side, code in (("vlscore", OURS), ("torch", THEIRS)):
        try:
            rows = [fresh(code, job) for _ in range(repeats)]
        except UnavailableError as error:
            say(f"fresh interpreters, {side}: not run: {error}")
        else:
            found[side] = {name: middle([row[place] for row in rows]).median for place, name in enumerate(STEPS)}
    return found


def fresh(code: str, job: Job) -> list[float]:
    """Run the code in a new interpreter; raises UnavailableError with its last line when it fails, say for want of a bundle."""
    command = [sys.executable, "-c", code, job.bundle("fp32"), job.backbone, job.pretrained]
    with limited(job.threads):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    times: list[float] = json.loads(done.stdout.splitlines()[-1])
    return times
