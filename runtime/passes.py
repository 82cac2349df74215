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


class SceneEncoder:
    """Runs the image half of a bundle. Holds no picture; safe to share between threads."""

    def __init__(self, manifest: Manifest, image: Session, masked: Session, spec: Spec) -> None:
        self.manifest, self.spec = manifest, spec
        self.image, self.masked = image, masked
        self.fingerprint = fingerprint(manifest)
        self.lock = threading.Lock()
        self.known_base: Floats | None = None

    def encode(self, pictures: Iterable[Pixels], progress: Progress | None = None, expected: int = 0) -> Iterator[Scene]:
        """Turn pictures into scenes, in order; `expected` pictures (0: unknown) give the progress its total."""
        jobs: deque[Job] = deque()
        source = iter(pictures)
        done, begun = 0, 0
        exhausted = False
        while True:
            while not exhausted and sum(len(job.waiting) for job in jobs) < self.manifest.batch:
                picture = next(source, None)
                if picture is None:
                    exhausted = True
                else:
                    jobs.append(self.begin(picture))
                    begun += 1
            while jobs and not jobs[0].missing:
                yield self.finish(jobs.popleft())
            if not jobs:
                if exhausted:
                    return
                continue
            batch = self.gather(jobs)
            self.run(batch)
            done += len(batch.places)
            if progress is not None:
                coming = self.manifest.maps.count * max(0, expected - begun)
                progress(done, done + coming + sum(len(job.waiting) for job in jobs))

    def begin(self, picture: Pixels) -> Job:
        """Place a picture on the model's square and read its maps."""
        info = self.manifest.image
        pixels, frame = place(picture, info.side, self.spec.geometry, info.resample, info.mean)
        outputs = self.image.run({"pixels": pixels[np.newaxis]})
        maps = outputs["maps"]
        if self.manifest.maps.groups:
            maps = principal_maps(maps, self.manifest.maps.groups, self.manifest.maps.components)
        check_finite(maps, "maps")
        alive = live(maps)
        embeddings = np.broadcast_to(self.base(), (len(maps), self.manifest.dim)).copy()
        return Job(
            picture=picture,
            pixels=pixels,
            frame=frame,
            maps=maps,
            embedding=outputs["embedding"],
            waiting=deque(np.flatnonzero(alive).tolist()),
            embeddings=embeddings,
            live=int(alive.sum()),
        )

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
                    black = np.zeros((1, side, side, 3), dtype=np.uint8)
                    self.known_base = self.image.run({"pixels": black})["embedding"]
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
