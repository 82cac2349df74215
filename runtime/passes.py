"""The masked passes: pictures in, scenes out, in full batches of one fixed shape.

A batch holds passes of up to `slots` pictures, so that when one picture's last passes leave room, the next picture's
first ones fill it. Constant maps are never run: their masked copy is the base picture itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.components import principal_maps
from engine.frame import Frame
from engine.manifest import Manifest, fingerprint
from engine.masks import live
from engine.spec import Spec
from runtime.backends.protocol import Session
from runtime.errors import BundleError
from runtime.preprocess import place
from runtime.scene import Floats, Scene

Progress = Callable[[int, int], None]
Pixels = NDArray[np.uint8]


@dataclass
class Job:
    """One picture on its way to becoming a scene."""

    picture: Pixels
    pixels: Pixels  # (R, R, 3), as the model sees it
    frame: Frame
    maps: Floats  # (K, h, w)
    embedding: Floats  # (D,)
    waiting: deque[int]  # live maps not yet run
    embeddings: Floats  # (K, D), the base where a map is constant
    live: int
    missing: int = 0  # passes not yet back

    def __post_init__(self) -> None:
        self.missing = self.live


@dataclass
class Batch:
    """Passes that will run together, and where their results belong."""

    pixels: Pixels  # (P, R, R, 3)
    which: NDArray[np.int64]  # (B,)
    maps: Floats  # (B, h, w)
    places: list[tuple[Job, int]] = field(default_factory=list)


@dataclass
class Line:
    """Pictures in line: those begun, in order, and those still to come."""

    source: Iterator[Pixels]
    jobs: deque[Job] = field(default_factory=deque)
    begun: int = 0
    open: bool = True
    fault: Exception | None = None

    def waiting(self) -> int:
        """Passes that could run now."""
        return sum(len(job.waiting) for job in self.jobs)


@dataclass
class Count:
    """Tells how many passes are done, of how many as far as is known."""

    progress: Progress | None
    per_picture: int
    expected: int
    done: int = 0
    total: int = 0

    def add(self, passes: int, line: Line) -> None:
        """Count passes; pictures not yet begun are reckoned at all their maps."""
        self.done += passes
        self.total = self.done + line.waiting() + self.per_picture * max(0, self.expected - line.begun)
        if self.progress is not None:
            self.progress(self.done, self.total)

    def end(self) -> None:
        """Close the count when the last pictures had fewer live maps than they were reckoned at."""
        if self.progress is not None and self.done < self.total:
            self.progress(self.done, self.done)


class SceneEncoder:
    """Runs the image half of a bundle. Holds no picture; safe to share between threads."""

    def __init__(self, manifest: Manifest, image: Session, masked: Session, spec: Spec, *, precision: str | None = None) -> None:
        self.manifest, self.spec = manifest, spec
        self.precision = manifest.precision if precision is None else precision
        self.image, self.masked = image, masked
        self.fingerprint = fingerprint(manifest)
        self.lock = threading.Lock()
        self.known_base: Floats | None = None

    def encode(self, pictures: Iterable[Pixels], progress: Progress | None = None, expected: int = 0) -> Iterator[Scene]:
        """Turn pictures into scenes, in order; `expected` pictures (0: unknown) give the progress its total.

        When the pictures themselves fail, those begun are finished and given first, and the failure raised after them.
        """
        line = Line(iter(pictures))
        count = Count(progress, self.manifest.maps.count, expected)
        while True:
            self.refill(line)
            if line.jobs and not line.jobs[0].missing:
                yield self.finish(line.jobs.popleft())
            elif line.jobs:
                batch = self.gather(line.jobs)
                self.run(batch)
                count.add(len(batch.places), line)
            else:
                break
        count.end()
        if line.fault is not None:
            raise line.fault

    def refill(self, line: Line) -> None:
        """Begin pictures until a whole batch waits, the first one is finished, or there are no more."""
        while line.open and line.waiting() < self.manifest.batch and not (line.jobs and not line.jobs[0].missing):
            try:
                picture = next(line.source)
            except StopIteration:
                line.open = False
            except Exception as error:  # whatever reading a picture raises: it is raised again, in its turn
                line.open, line.fault = False, error
            else:
                line.jobs.append(self.begin(picture))
                line.begun += 1

    def begin(self, picture: Pixels) -> Job:
        """Place a picture on the model's square and read its maps."""
        info = self.manifest.image
        pixels, frame = place(picture, info.side, self.spec.geometry, info.resample, info.mean)
        maps, embedding = self.look(pixels)
        if self.manifest.maps.groups:
            maps = principal_maps(maps, self.manifest.maps.groups, self.manifest.maps.components)
        alive = live(maps)
        embeddings = np.broadcast_to(self.base(), (len(maps), self.manifest.dim)).copy()
        return Job(
            picture=picture,
            pixels=pixels,
            frame=frame,
            maps=maps,
            embedding=embedding,
            waiting=deque(np.flatnonzero(alive).tolist()),
            embeddings=embeddings,
            live=int(alive.sum()),
        )

    def look(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Run the image graph on a square: raw maps `(K, h, w)` and the unit embedding `(D,)`."""
        outputs = self.image.run({"pixels": pixels[np.newaxis]})
        check_finite(outputs["maps"], "maps")
        check_finite(outputs["embedding"], "embedding")
        return outputs["maps"], outputs["embedding"]

    def gather(self, jobs: Iterable[Job]) -> Batch:
        """Fill a batch from the first jobs that wait; what stays empty is padded with blank passes."""
        batch = self.empty_batch()
        for slot, job in enumerate(job for job in jobs if job.waiting):
            if slot == self.manifest.slots or len(batch.places) == self.manifest.batch:
                break
            batch.pixels[slot] = job.pixels
            while job.waiting and len(batch.places) < self.manifest.batch:
                row, index = len(batch.places), job.waiting.popleft()
                batch.which[row], batch.maps[row] = slot, job.maps[index]
                batch.places.append((job, index))
        return batch

    def run(self, batch: Batch) -> None:
        """Run a batch and hand its embeddings to their pictures."""
        embeddings = self.run_arrays(batch)
        for row, (job, index) in enumerate(batch.places):
            job.embeddings[index] = embeddings[row]
            job.missing -= 1

    def run_arrays(self, batch: Batch) -> Floats:
        """Run the masked graph on a batch: unit embeddings `(B, D)`."""
        embeddings = self.masked.run({"pixels": batch.pixels, "which": batch.which, "maps": batch.maps})["embeddings"]
        check_finite(embeddings, "embeddings")
        return embeddings

    def finish(self, job: Job) -> Scene:
        """Make the scene of a picture whose passes are all back."""
        return Scene(
            maps=job.maps,
            embeddings=job.embeddings,
            base=self.base(),
            embedding=job.embedding,
            frame=job.frame,
            live=job.live,
            passes=job.live,
            preset="exact",
            precision=self.precision,
            backbone=self.manifest.backbone,
            fingerprint=self.fingerprint,
            picture=job.picture,
        )

    def base(self) -> Floats:
        """The blank picture's embedding `(D,)`: one batch of the same graph, run once for every picture to come."""
        with self.lock:
            if self.known_base is None:
                if self.spec.base == "mean":
                    # A constant map is a mask of zeros, and pixels times zero are CLIP's mean colour.
                    self.known_base = self.run_arrays(self.empty_batch())[0].copy()
                else:
                    side = self.manifest.image.side
                    self.known_base = self.look(np.zeros((side, side, 3), dtype=np.uint8))[1]
            return self.known_base

    def empty_batch(self) -> Batch:
        """A batch of blank passes."""
        manifest = self.manifest
        side, maps = manifest.image.side, manifest.maps
        return Batch(
            pixels=np.zeros((manifest.slots, side, side, 3), dtype=np.uint8),
            which=np.zeros(manifest.batch, dtype=np.int64),
            maps=np.zeros((manifest.batch, maps.height, maps.width), dtype=np.float32),
        )


def check_finite(values: Floats, what: str) -> None:
    """Refuse NaN and infinity as soon as they appear: a bundle that makes them is broken on this machine."""
    if not np.isfinite(values).all():
        raise BundleError(f"the model's {what} hold NaN or infinity; build the bundle again (fp32 if it is fp16)")
