"""The open model, the written pictures and their encoded scenes, and from them the scored pictures of any split."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

from bench.accuracy.scored import WORLD, ScoredPicture, embed_nouns, score_picture
from bench.world.read import PICTURES, read_split
from bench.world.splits import RECIPES, Example
from engine.frame import Frame
from engine.spec import Geometry, Spec, named_spec
from runtime import Localizer, Scene
from runtime.bundles import find_bundle, read_manifest
from runtime.devices import Device
from runtime.encoder import Progress, SceneEncoder
from runtime.pictures import Pixels
from runtime.presets import Preset
from runtime.scene import SCHEMA

SPLITS = tuple(name for name in RECIPES if name != "train")

# Shows that a split is being encoded; what it gives is told of every picture.
Bar = Callable[[str], AbstractContextManager[Progress]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is evaluated."""

    model: str | None = None
    spec: str = "default"
    data: Path = PICTURES
    splits: tuple[str, ...] = SPLITS
    limit: int | None = None
    templates: str = "plain"
    sweep: bool = True
    device: Device = "auto"
    preset: Preset = "exact"
    threads: int | None = None


class Evaluation:
    """Holds what a run needs; pictures are read and encoded when they are first asked for."""

    def __init__(self, settings: Settings, folder: Path, bar: Bar) -> None:
        self.settings, self.bar = settings, bar
        bundle = find_bundle(settings.model)
        self.masks = read_manifest(bundle).masks
        self.spec = self.fitted(named_spec(settings.spec))
        self.localizer = Localizer(
            bundle, device=settings.device, preset=settings.preset, spec=self.spec, threads=settings.threads
        )
        self.scenes = SceneCache(self.localizer, folder)
        self.logit_scale = self.localizer.manifest.logit_scale
        self.classes = embed_nouns(self.localizer, WORLD)
        self.examples = cache(self.read_examples)
        self.scored = lru_cache(maxsize=1)(self.score_split)  # two specs of one split follow each other
        self.seconds = 0.0  # spent on encoding

    def fitted(self, spec: Spec) -> Spec:
        """A spec with the masks that the bundle was built for."""
        return spec.replace(mask_align=self.masks.align, mask_order=self.masks.order)

    def read_examples(self, split: str) -> list[Example]:
        """The examples of a split, as many as the settings allow."""
        return list(read_split(self.settings.data, split))[: self.settings.limit]

    def score_split(self, split: str, geometry: Geometry, templates: str | None = None) -> list[ScoredPicture]:
        """The scored pictures of a split, its nouns asked in the given templates or in those of the settings."""
        examples = self.examples(split)
        started = time.perf_counter()
        with self.bar(f"{split}, {geometry}") as tick:
            self.scenes.fill([example.pixels for example in examples], geometry, tick)
        self.seconds += time.perf_counter() - started
        asked = embed_nouns(self.localizer, templates or self.settings.templates)
        return [
            score_picture(place, example, self.scenes.load(example.pixels, geometry), asked, self.classes)
            for place, example in enumerate(examples)
        ]


class SceneCache:
    """Encodes each picture once per geometry that shows the model something else, into a folder, and reads it back."""

    def __init__(self, localizer: Localizer, folder: Path) -> None:
        preset, precision = localizer.plan.preset, localizer.precision
        unusual = [*([] if preset == "exact" else [preset]), *([] if precision == localizer.manifest.precision else [precision])]
        self.localizer = localizer
        self.folder = folder / "-".join([localizer.fingerprint[:16], str(SCHEMA), *unusual])
        self.folder.mkdir(parents=True, exist_ok=True)
        self.passes = 0

    def load(self, pixels: Pixels, geometry: Geometry) -> Scene:
        """The scene of an encoded picture, under a geometry."""
        scene = Scene.load(self.path(pixels, geometry))
        frame = Frame.fit((pixels.shape[0], pixels.shape[1]), scene.frame.side, geometry)
        return replace(scene, frame=frame, picture=pixels)

    def fill(self, pictures: Sequence[Pixels], geometry: Geometry, tick: Progress) -> None:
        """Encode the pictures that are not there yet, the passes of neighbours sharing batches."""
        wanted = {self.path(pixels, geometry): pixels for pixels in pictures}
        missing = {path: pixels for path, pixels in wanted.items() if not path.is_file()}
        by_sight: dict[Geometry, dict[Path, Pixels]] = {}
        for path, pixels in missing.items():
            by_sight.setdefault(seen(pixels, geometry), {})[path] = pixels
        done = 0
        for sight, batch in by_sight.items():
            own = self.localizer.encoder
            encoder = SceneEncoder(
                own.manifest, own.sessions, own.spec.replace(geometry=sight), own.plan, precision=own.precision
            )
            for path, scene in zip(batch, encoder.encode(iter(batch.values())), strict=True):
                scene.save(path, picture=False)
                self.passes += scene.passes
                done += 1
                tick(done, len(missing))

    def path(self, pixels: Pixels, geometry: Geometry) -> Path:
        """Where a picture's scene lies; what the model would see alike lies in one place."""
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:24]
        return self.folder / f"{digest}-{seen(pixels, geometry)}-{self.localizer.spec.base}.npz"


def seen(pixels: Pixels, geometry: Geometry) -> Geometry:
    """The geometry that shows the model the same: all are one on a square, and `stretch` only reads a crop differently."""
    if pixels.shape[0] == pixels.shape[1]:
        return "squash"
    return "crop" if geometry == "stretch" else geometry
