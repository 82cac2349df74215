"""Bundles of one small random model at several batch sizes: a bundle's batch is fixed when it is built."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

BATCHES = (1, 2, 4, 8, 16, 32, 64)
CONFIG = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 96, "layers": [1, 1, 1, 1], "width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


def build_sizes(folder: Path, batches: Sequence[int], say: Callable[[str], None]) -> list[Path]:
    """Build one bundle per batch size into the folder."""
    from export.backbones import find_backbone  # here: with --bundles nothing is built, and PyTorch is not needed
    from export.build import build
    from export.options import Options
    from export.weights import find_source

    config = folder / "small.json"
    config.write_text(json.dumps(CONFIG), encoding="utf-8")
    backbone = find_backbone(str(config))
    source = find_source(backbone, "none", None)
    built = []
    for batch in batches:
        say(f"building a small bundle with batches of {batch}")
        built.append(folder / f"batch-{batch}")
        build(backbone, source, Options(batch=batch), built[-1], lambda step: None)
    return built
