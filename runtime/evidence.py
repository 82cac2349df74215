"""What a method gathered from a picture, apart from masked passes; a scene may hold the evidence of several methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.frame import Frame
from engine.manifest import DENSE, Manifest, method_fingerprint
from engine.spec import Geometry
from engine.windows import places, together, windowed_hw
from runtime.backends.session import Session
from runtime.errors import ArgumentError, BundleError
from runtime.pictures import Pixels
from runtime.preprocess import KERNELS, fit_to_square, resized

# What is kept of a graph's outputs, and as what: in half precision features order places as before, a stream would not.
KEPT = {
    "features": np.float16, "attention": np.float16, "affinity": np.float16, "stream": np.float32, "patches": np.float32
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Evidence:
    """Arrays that a method's graph gave for a picture, and the fingerprint of what made them.

    `features` are `(L, h, w, D)`, `attention` and `affinity` are `(n, n)` over the cells of the grid, `stream` `(N, d)` is what a
    graph of words starts from, and `patches` `(D,)` the embedding of all patches.
    """

    arrays: Mapping[str, NDArray[Any]] = field(repr=False)
    made_by: str
    windows: int = 0  # the shorter side that the picture was brought to; 0: the whole picture in one square


@dataclass(frozen=True, eq=False)
class Looked:
    """A picture as a method saw it: its evidence, its embedding `(D,)`, and how it lay before the model."""

    evidence: Evidence
    embedding: NDArray[np.float32]
    frame: Frame
    pixels: Pixels
    passes: int = 1


class Looker:
    """Runs the graph that looks at pictures for one method. Holds no picture; safe to share between threads."""

    def __init__(self, manifest: Manifest, method: str, session: Session, windows: int = 0) -> None:
        """With `windows` the picture's shorter side is brought to so many pixels, and seen window by window."""
        self.manifest, self.method, self.session, self.windows = manifest, method, session, windows
        self.info = manifest.methods[method]
        self.gives = manifest.graphs[f"{DENSE}{method}"].outputs
        self.made_by = method_fingerprint(manifest, method)
        if windows and set(self.gives) != {"features", "embedding"}:
            raise ArgumentError(f"method `{method}` ties all patches of a square together: it has no `windows`; leave them out")
        if windows and windows < self.info.side:
            raise ArgumentError(
                f"`windows` = {windows} brings pictures to a shorter side of {windows} pixels, and a window of this model has "
                f"{self.info.side}: give {self.info.side} or more, or leave it out"
            )

    def look(self, picture: Pixels, geometry: Geometry) -> Looked:
        """Look at a picture `(H, W, 3)`, whole or through windows."""
        info, image = self.info, self.manifest.image
        if self.windows:
            return self.look_through_windows(picture)
        pixels, frame = fit_to_square(picture, info.side, geometry, image.resample, image.mean)
        outputs = self.run(pixels)
        embedding = outputs.pop("embedding", np.zeros(self.manifest.dim, np.float32))
        return Looked(self.evidence(outputs), embedding, frame, pixels)

    def look_through_windows(self, picture: Pixels) -> Looked:
        """Look at a large picture window by window; its embedding is the mean of theirs."""
        side, patch = self.info.side, self.info.side // self.info.height
        size_hw = windowed_hw((picture.shape[0], picture.shape[1]), self.windows, patch)
        pixels = resized(picture, size_hw, KERNELS[self.manifest.image.resample])
        corners = places(size_hw, side, patch)
        outputs = [self.run(np.ascontiguousarray(pixels[top : top + side, left : left + side])) for top, left in corners]
        features = together([each["features"] for each in outputs], corners, size_hw, patch)
        embedding = np.mean([each["embedding"] for each in outputs], axis=0, dtype=np.float32)
        frame = Frame.fit((picture.shape[0], picture.shape[1]), side, "squash")  # the grid spans the whole picture
        unit = embedding / max(float(np.linalg.norm(embedding)), 1e-12)
        return Looked(self.evidence({"features": features}), np.asarray(unit, np.float32), frame, pixels, len(corners))

    def run(self, pixels: Pixels) -> dict[str, NDArray[np.float32]]:
        """Run the graph on one square; what it gives must be finite."""
        outputs = dict(self.session.run({"pixels": pixels[np.newaxis]}))
        if not all(np.isfinite(values).all() for values in outputs.values()):
            raise BundleError(
                f"the graph `{DENSE}{self.method}` gives NaN or infinity; build the bundle again (fp32 if it is fp16)"
            )
        return outputs

    def evidence(self, outputs: Mapping[str, NDArray[np.float32]]) -> Evidence:
        """What is kept of a graph's outputs."""
        arrays = {name: values.astype(KEPT.get(name, np.float32)) for name, values in outputs.items()}
        return Evidence(arrays, self.made_by, self.windows)
