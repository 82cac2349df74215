"""The shipped model on the device against the oracle, in full: trained weights, every map, boxes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from bench.faithful import PICTURES, compare, wanted
from bench.world.read import read_split
from export.backbones import find_backbone
from export.weights import default_weights, find_source, load
from runtime.bundles import find_bundle

MODEL = "demo-rn"
SPEC = "default"
BATCH = 32


class Faithful:
    """Asks the oracle once, then each device; lives in a process of its own."""

    def __init__(self, pictures: int, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        backbone = find_backbone(MODEL)
        loaded = load(backbone, find_source(backbone, default_weights(backbone), None), 0)
        self.examples = list(read_split(PICTURES, "test"))[:pictures]
        self.theirs = wanted(loaded, self.examples, SPEC, BATCH)

    def on(self, device: str) -> dict[str, Any]:
        """What differs on a device."""
        return asdict(compare(str(find_bundle(MODEL)), self.examples, self.theirs, SPEC, device=device))
