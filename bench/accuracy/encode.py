"""Encoded pictures, kept in a folder: the masked passes are the slow part, and every sweep lives on the same ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from engine.frame import Frame
from engine.spec import Geometry
from runtime import Localizer, Scene
from runtime.encoder import SceneEncoder
from runtime.pictures import Pixels
from runtime.scene import SCHEMA


class Ticker(Protocol):
    """Told of every picture encoded."""

    def __call__(self, done: int, total: int) -> None:
        """So many of so many."""
        ...


class Shelf:
    """Encodes each picture once per geometry that shows the model something else, and reads it back."""

    def __init__(self, localizer: Localizer, folder: Path) -> None:
        self.localizer, self.folder = localizer, folder / shelf_name(localizer)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.passes = 0

    def load(self, pixels: Pixels, geometry: Geometry) -> Scene:
        """The scene of an encoded picture, under a geometry."""
        scene = Scene.load(self.path(pixels, geometry))
        frame = Frame.fit((pixels.shape[0], pixels.shape[1]), scene.frame.side, geometry)
        return replace(scene, frame=frame, picture=pixels)

    def fill(self, pictures: Sequence[Pixels], geometry: Geometry, tick: Ticker) -> None:
        """Encode the pictures that are not on the shelf yet, the passes of neighbours sharing batches."""
        wanted = {self.path(pixels, geometry): pixels for pixels in pictures}
        missing = {path: pixels for path, pixels in wanted.items() if not path.is_file()}
        by_sight: dict[Geometry, dict[Path, Pixels]] = {}
        for path, pixels in missing.items():
            by_sight.setdefault(seen(pixels, geometry), {})[path] = pixels
        done = 0
        for sight, batch in by_sight.items():
            own = self.localizer.encoder
            spec = own.spec.replace(geometry=sight)
            encoder = SceneEncoder(own.manifest, own.sessions, spec, own.plan, precision=own.precision)
            for path, scene in zip(batch, encoder.encode(iter(batch.values())), strict=True):
                scene.save(path, picture=False)
                self.passes += scene.passes
                done += 1
                tick(done, len(missing))

    def path(self, pixels: Pixels, geometry: Geometry) -> Path:
        """Where a picture's scene lies; what the model would see alike lies in one place."""
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()[:24]
        return self.folder / f"{digest}-{seen(pixels, geometry)}-{self.localizer.spec.base}.npz"


def shelf_name(localizer: Localizer) -> str:
    """The model, the form that scenes are saved in, and the preset and precision where they are not the usual ones."""
    preset, precision = localizer.plan.preset, localizer.precision
    unusual = [*([] if preset == "exact" else [preset]), *([] if precision == localizer.manifest.precision else [precision])]
    return "-".join([localizer.fingerprint[:16], str(SCHEMA), *unusual])


def seen(pixels: Pixels, geometry: Geometry) -> Geometry:
    """The geometry that shows the model the same: all are one on a square, and `stretch` only reads a crop differently."""
    if pixels.shape[0] == pixels.shape[1]:
        return "squash"
    return "crop" if geometry == "stretch" else geometry
