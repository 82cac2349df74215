"""A figure of a training run: loss and accuracy over pictures seen."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt


def plot_log(log: Path, out: Path) -> None:
    """Draw a log of JSON lines: loss on the left axis, zero-shot top-1 in percent on the right."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    seen = [line["pictures"] / 1000 for line in lines]
    figure, left = plt.subplots(figsize=(7, 4))
    left.plot(seen, [line["loss"] for line in lines], color="tab:grey", label="loss")
    left.set_xlabel("thousand pictures")
    left.set_ylabel("loss")
    right = left.twinx()
    for split, shade in (("val", "tab:blue"), ("unseen-artwork", "tab:orange")):
        right.plot(seen, [100 * line[split] for line in lines], color=shade, label=split)
    right.set_ylabel("zero-shot top-1 (%)")
    right.set_ylim(0, 100)
    right.legend(loc="center right", frameon=False)
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    plt.close(figure)
