"""The open model, the pictures and the shelf, and from them the sheets of any split."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import cache, lru_cache
from pathlib import Path

from bench.accuracy.encode import Shelf, Ticker
from bench.accuracy.options import Options
from bench.accuracy.sheets import Sheet, Texts, make_sheet
from bench.accuracy.words import WORLD, ask_nouns
from bench.world.read import read_split
from bench.world.splits import Example
from engine.spec import Geometry, Spec, named_spec
from runtime import Localizer
from runtime.bundles import find_bundle, read_manifest
from runtime.scene import Scene

# Shows that a split is being encoded; what it gives is told of every picture.
Bar = Callable[[str], AbstractContextManager[Ticker]]


class Lab:
    """Holds what a run needs; pictures are read and encoded when they are first asked for."""

    def __init__(self, options: Options, folder: Path, bar: Bar) -> None:
        self.options, self.bar = options, bar
        bundle = find_bundle(options.model)
        self.masks = read_manifest(bundle).masks
        self.spec = self.fitted(named_spec(options.spec))
        self.localizer = Localizer(bundle, device=options.device, preset=options.preset, spec=self.spec, threads=options.threads)
        self.shelf = Shelf(self.localizer, folder)
        self.logit_scale = self.localizer.manifest.logit_scale
        self.classes = ask_nouns(self.localizer, WORLD)
        self.examples = cache(self.read)
        self.sheets = lru_cache(maxsize=1)(self.fill_sheets)  # two specs of one split follow each other
        self.seconds = 0.0  # spent on encoding

    def fitted(self, spec: Spec) -> Spec:
        """A spec with the masks that the bundle was built for."""
        return spec.replace(mask_align=self.masks.align, mask_order=self.masks.order)

    def read(self, split: str) -> list[Example]:
        """The examples of a split, as many as the options allow."""
        return list(read_split(self.options.data, split))[: self.options.limit]

    def scenes(self, split: str, geometry: Geometry) -> Iterator[Scene]:
        """The encoded pictures of a split, in order; only one at a time is held."""
        pictures = [example.pixels for example in self.examples(split)]
        started = time.perf_counter()
        with self.bar(f"{split}, {geometry}") as tick:
            self.shelf.fill(pictures, geometry, tick)
        self.seconds += time.perf_counter() - started
        return (self.shelf.load(pixels, geometry) for pixels in pictures)

    def fill_sheets(self, split: str, geometry: Geometry, templates: str | None = None) -> list[Sheet]:
        """The sheets of a split, its nouns asked in the given templates or in those of the options."""
        texts = Texts(ask_nouns(self.localizer, templates or self.options.templates), self.classes)
        pairs = zip(self.examples(split), self.scenes(split, geometry), strict=True)
        return [make_sheet(place, example, scene, texts) for place, (example, scene) in enumerate(pairs)]
