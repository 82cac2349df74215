"""The bundles that a run needs: built side by side, in processes of their own, and kept for the next run."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from bench.compare.machine import ROOT
from bench.compare.options import default_weights
from bench.gpu.options import Options
from runtime.bundles import bundle_home, bundle_name

PRECISIONS = ("fp16", "fp32", "int8-symmetric")
FITTING = ((16000, 256), (8000, 128), (0, 64))  # MiB of the card, masked passes per run
ON_CPU = 32


def batch_for(memory_mib: float | None) -> int:
    """Masked passes per run that a card has room for, beside the other ways of a group."""
    if memory_mib is None:
        return ON_CPU
    return next(batch for least, batch in FITTING if memory_mib >= least)


def place(options: Options, batch: int) -> str:
    """The fp32 bundle: the one named, or where it is built."""
    if options.model:
        return options.model
    pretrained = options.pretrained or default_weights(options.backbone)
    return str(bundle_home() / f"{bundle_name(Path(options.backbone).stem, pretrained, 'fp32')}-b{batch}")


def build(options: Options, batch: int, deadline: float) -> dict[str, str]:
    """Build what is not there; gives what became of each precision: `built`, or why not."""
    base = place(options, batch)
    log = subprocess.PIPE
    running = {
        precision: subprocess.Popen(
            command(options, batch, base, precision), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, text=True
        )
        for precision in PRECISIONS
    }
    return {precision: outcome(process, deadline) for precision, process in running.items()}


def command(options: Options, batch: int, base: str, precision: str) -> list[str]:
    """The build of one precision."""
    out = base if precision == "fp32" else f"{base}-{precision}"
    pretrained = options.pretrained or default_weights(options.backbone)
    words = ["--backbone", options.backbone, "--pretrained", pretrained, "--precision", precision]
    return [sys.executable, "-m", "export.build", *words, "--batch", str(batch), "--out", out]


def outcome(process: subprocess.Popen[str], deadline: float) -> str:
    """Wait for a build, not longer than there is time; one that is ended leaves nothing half done."""
    try:
        said, _ = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "not finished in its share of the time: build it by `python -m export.build`, or give a larger `--budget`"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return "built" if process.returncode == 0 else (lines[-1][:300] if lines else f"exit code {process.returncode}")
