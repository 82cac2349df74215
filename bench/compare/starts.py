"""What is run by other interpreters: how long a fresh one takes to open a model, and the building of bundles."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from bench.compare.contenders import Contender
from bench.compare.machine import ROOT
from bench.compare.record import rounded
from bench.compare.task import Task, UnavailableError
from bench.compare.worker import limited
from bench.terminal import Say
from engine.manifest import MANIFEST
from runtime.bundles import bundle_home

OURS = """
import json, sys, time
start = time.perf_counter()
from runtime import Localizer, Query
imported = time.perf_counter()
localizer = Localizer(sys.argv[1], **json.loads(sys.argv[2]))
opened = time.perf_counter()
for graph in (*localizer.encoder.sessions.values(), localizer.answerer.session):
    graph.open()
localizer.text.embed([Query(("words that open the graph of short texts",))])
print(json.dumps([imported - start, opened - imported, time.perf_counter() - opened]))
"""
PYTORCH = """
import json, sys, time
start = time.perf_counter()
import torch, open_clip
from export.backbones import find_backbone
from export.sources import find_source
from export.weights import load
imported = time.perf_counter()
backbone = find_backbone(sys.argv[1])
load(backbone, find_source(backbone, sys.argv[2], None), 0)
print(json.dumps([imported - start, 0.0, time.perf_counter() - imported]))
"""
STEPS = ("import_s", "open_s", "load_s")
REPEATS = 5
PATIENCE_S = 120.0


def time_starts(contenders: Sequence[Contender], task: Task, say: Say) -> dict[str, dict[str, float]]:
    """Median seconds to import, to open (files checked) and to load all graphs or weights: of ours, and of PyTorch."""
    sides = {"torch": [PYTORCH, task.backbone, task.pretrained]}
    for contender in contenders:
        options = {name: value for name, value in contender.options.items() if name != "bundle"}
        bundle = task.bundle(contender.options.get("bundle", "fp32"))
        sides[contender.name] = [OURS, bundle, json.dumps({"spec": task.spec, **options})]
    found = {}
    for name, code in sides.items():
        say(f"fresh interpreters: {name}")
        try:
            rows = np.median([run_fresh(code, task.threads) for _ in range(REPEATS)], axis=0)
        except UnavailableError as error:
            say(f"fresh interpreters: {name}: not run: {error}")
        else:
            found[name] = {step: rounded(float(seconds)) for step, seconds in zip(STEPS, rows, strict=True)}
    return found


def run_fresh(code: Sequence[str], threads: int) -> list[float]:
    """Run code with its arguments in a new interpreter; raises UnavailableError with its last line when it fails."""
    try:
        with limited(threads):
            command = [sys.executable, "-c", *code]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"not finished in {PATIENCE_S:.0f} s") from None
    if done.returncode:
        raise UnavailableError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])
    times: list[float] = json.loads(done.stdout.splitlines()[-1])
    return times


def build_bundles(task: Task, contenders: Sequence[Contender], say: Say) -> dict[str, str]:
    """Build what the contenders lack into the folder of built bundles, side by side; gives `built`, or why not, by precision."""
    precisions = dict.fromkeys(each.options.get("bundle", "fp32") for each in contenders if each.ours)
    found, running = {}, {}
    for precision in precisions:
        folder = bundle_home() / task.bundle(precision)
        found[precision] = "built"
        if not (folder / MANIFEST).is_file():
            say(f"building {folder.name}")
            words = ["--backbone", task.backbone, "--pretrained", task.pretrained, "--precision", precision]
            command = [sys.executable, "-m", "export.build", *words, "--batch", str(task.batch), "--out", str(folder)]
            pipe = subprocess.PIPE
            running[precision] = subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=subprocess.STDOUT, text=True)
    for precision, process in running.items():
        told = process.communicate()[0].strip().splitlines()
        if process.returncode:
            found[precision] = (told or [f"exit code {process.returncode}"])[-1].strip()[:300]
    return found
