"""`python -m bench.whole_way --backbone RN50 --pretrained none`: one picture, ours and the oracle's way, side by side.

Each side runs in a process of its own, so that seconds and peak memory are its own. The oracle is the method as
published: plain PyTorch, eager, masked pictures in batches of 32. Both sides use the same weights and every map.
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from engine.metrics import box_agreement, iou
from engine.spec import preset

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "export" / "pictures" / "astronaut.jpg"

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Job:
    """What both sides are given."""

    backbone: str
    pretrained: str
    model: str  # bundle name or folder
    picture: str
    query: str
    spec: str
    threads: int
    batch: int  # the oracle's


@dataclass(frozen=True)
class Outcome:
    """What one side found, and at what price."""

    seconds: float
    peak_mib: float
    scores: NDArray[np.float64]  # relative to the base
    live: NDArray[np.bool_]
    saliency: NDArray[np.floating]
    xyxy: NDArray[np.floating]


def ours(job: Job) -> Outcome:
    """Encode and ask with the runtime; nothing here imports PyTorch."""
    from engine.masks import live
    from runtime import Localizer, Query

    localizer = Localizer(job.model, device="cpu", spec=job.spec, threads=job.threads)
    started = time.perf_counter()
    scene = localizer.encode(job.picture)
    seconds = time.perf_counter() - started
    found = localizer.locate(scene, job.query)
    scores, _ = next(localizer.answerer.scores_and_maps(scene, localizer.text.embed([Query((job.query,))])))
    if "torch" in sys.modules:
        raise RuntimeError("PyTorch was imported by the runtime; its peak memory would be counted")
    return Outcome(seconds, peak_mib(), scores.astype(np.float64), live(scene.maps), found.saliency, found.xyxy)


def oracle(job: Job) -> Outcome:
    """Do the same by the oracle."""
    import open_clip
    import torch

    from export.backbones import find_backbone
    from export.weights import find_source, load
    from runtime.pictures import read_picture
    from tests import oracle as way

    torch.set_num_threads(job.threads)
    backbone = find_backbone(job.backbone)
    loaded = load(backbone, find_source(backbone, job.pretrained, None), 0)
    with torch.no_grad():
        text = loaded.model.encode_text(open_clip.tokenize([job.query]))[0]
    spec = way.OracleSpec(**preset(job.spec).to_dict())
    picture = read_picture(job.picture)
    started = time.perf_counter()
    found = way.locate(loaded.model, picture, text, spec, batch=job.batch)
    seconds = time.perf_counter() - started
    scores = found.scores.double().numpy() - found.base_score
    return Outcome(seconds, peak_mib(), scores, way.live(found.maps).numpy(), found.saliency, found.xyxy)


def peak_mib() -> float:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def alone(side: Callable[[Job], Outcome], job: Job) -> Outcome:
    """Run one side in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(side, (job,))


def compare(mine: Outcome, theirs: Outcome) -> dict[str, Any]:
    """The figures: speed, memory and agreement."""
    both = mine.live & theirs.live
    flips = both & ((mine.scores > 0) != (theirs.scores > 0))
    overlap = iou(mine.xyxy, theirs.xyxy)
    return {
        "maps": len(mine.scores),
        "live_maps": int(both.sum()),
        "ours_s": round(mine.seconds, 2),
        "oracle_s": round(theirs.seconds, 2),
        "ratio": round(theirs.seconds / mine.seconds, 2),
        "ours_passes_per_s": round(both.sum() / mine.seconds, 2),
        "ours_peak_mib": round(mine.peak_mib),
        "oracle_peak_mib": round(theirs.peak_mib),
        "max_score_difference": float(f"{np.abs(mine.scores - theirs.scores)[both].max():.3g}"),
        "largest_score": float(f"{np.abs(theirs.scores).max():.3g}"),
        "kept_ours": int((mine.scores > 0).sum()),
        "kept_oracle": int((both & (theirs.scores > 0)).sum()),
        "flips": int(flips.sum()),
        "max_saliency_difference": float(f"{np.abs(mine.saliency - theirs.saliency).max():.3g}"),
        "boxes": [len(mine.xyxy), len(theirs.xyxy)],
        "lowest_box_iou": round(float(overlap.max(axis=1).min()), 6) if overlap.size else None,
        "box_agreement": round(box_agreement(mine.xyxy, theirs.xyxy), 6),
    }


def show(job: Job, figures: dict[str, Any]) -> None:
    """Print the figures."""
    table = Table(title=f"{job.backbone}: the whole way, ours and the oracle's", show_header=False, title_justify="left")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), str(value))
    Console(highlight=False).print(table)


@app.command()
def main(  # noqa: PLR0913, PLR0917 - a command's options
    backbone: Annotated[str, typer.Option(help="As for export.build.")] = "RN50",
    pretrained: Annotated[str, typer.Option(help="As for export.build.")] = "none",
    model: Annotated[Optional[str], typer.Option(help="Bundle; else the one that export.build made.")] = None,  # noqa: UP045
    picture: Annotated[Path, typer.Option(help="Picture to localize in.")] = PICTURE,
    query: Annotated[str, typer.Option(help="What to look for.")] = "an astronaut",
    spec: Annotated[str, typer.Option(help="default or paper.")] = "paper",
    threads: Annotated[Optional[int], typer.Option(min=1, help="Threads of both sides.")] = None,  # noqa: UP045
    batch: Annotated[int, typer.Option(min=1, help="The oracle's batch.")] = 32,
    json_file: Annotated[Optional[Path], typer.Option("--json", help="Write the figures here.")] = None,  # noqa: UP045
) -> None:
    """Compare one whole localization with the oracle: seconds, memory, scores, kept maps, boxes."""
    from runtime.home import bundle_name
    from runtime.threads import default_threads

    name = model or bundle_name(backbone, pretrained, "fp32")
    job = Job(backbone, pretrained, name, str(picture), query, spec, threads or default_threads(), batch)
    figures = compare(alone(ours, job), alone(oracle, job))
    show(job, figures)
    if json_file is not None:
        record = {"job": asdict(job), "machine": platform.processor() or platform.machine(), "figures": figures}
        json_file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    app()
