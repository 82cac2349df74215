"""Seconds per picture of every way as bars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

from bench.compare.report import picture_seconds, short
from bench.compare.rows import Row

OURS, THEIRS = "tab:blue", "0.65"


def draw(record: dict[str, Any], file: Path) -> Path:
    """Draw the bars on a logarithmic scale; what was reckoned is hatched."""
    rows = [row for row in (Row.from_dict(values) for values in record["ways"]) if picture_seconds(row)][::-1]
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.34 * len(rows)), layout="constrained")
    for place, row in enumerate(rows):
        seconds, reckoned = picture_seconds(row) or 0.0, row.derived and not row.whole
        shade = OURS if row.ours else THEIRS
        axes.barh(place, seconds, color=shade, hatch="//" if reckoned else None, edgecolor="white", linewidth=0)
        axes.text(seconds * 1.08, place, f"{'~' if reckoned else ''}{short(seconds)} s", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [row.title for row in rows], fontsize=8)
    axes.set_xscale("log")
    axes.set_xmargin(0.12)
    axes.set_xlabel("seconds per picture (hatched: reckoned from passes per second)")
    job, machine = record["job"], record["machine"]
    axes.set_title(
        f"{job['backbone']}, {job['live_maps']} maps, {machine['threads']} threads of {machine['processor']}", fontsize=9
    )
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
    plt.close(figure)
    return file
