"""The masked passes: pictures in, scenes out, in full batches of one fixed shape.

A batch holds passes of up to `slots` pictures, so that when one picture's last passes leave room, the next picture's
first ones fill it. Constant maps are never run: their masked copy is the base picture itself.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from engine.anchors import Kinship, choose, predict
from engine.components import principal_maps
from engine.frame import Frame
from engine.manifest import Manifest, fingerprint
from engine.masks import live
from engine.outline import shrink
from engine.spec import Spec
from runtime.backends.protocol import Session
from runtime.effort import EXACT, Effort
from runtime.errors import BundleError
from runtime.packing import Batch, Count, Flight, Job, Line, Pixels, Progress
from runtime.preprocess import place
from runtime.scene import Floats, Scene


class SceneEncoder:
    """Runs the image half of a bundle. Holds no picture; safe to share between threads."""

    def __init__(
        self,
        manifest: Manifest,
        sessions: dict[str, Session],
        spec: Spec,
        effort: Effort = EXACT,
        *,
        precision: str | None = None,
        overlap: bool = False,
    ) -> None:
        """Take the sessions of the image half's graphs by name; `overlap` begins a batch before the last one is back."""
        self.manifest, self.spec, self.effort = manifest, spec, effort
        self.precision = manifest.precision if precision is None else precision
        self.sessions, self.overlap = sessions, overlap
        self.fingerprint = fingerprint(manifest)
        self.lock = threading.Lock()
        self.known_base: Floats | None = None

    def encode(self, pictures: Iterable[Pixels], progress: Progress | None = None, expected: int = 0) -> Iterator[Scene]:
        """Turn pictures into scenes, in order; `expected` pictures (0: unknown) give the progress its total.

        When the pictures themselves fail, those begun are finished and given first, and the failure raised after them.
        """
        line = Line(iter(pictures))
        count = Count(progress, self.effort.per_picture(self.manifest.maps.count), expected)
        flying: deque[Flight] = deque()
        while True:
            self.refill(line)
            if line.jobs and not line.jobs[0].missing:
                yield self.finish(line.jobs.popleft())
                continue
            if line.waiting():
                flying.append(self.launch(self.gather(line.jobs)))
            elif not flying:
                break
            # On a card one batch stays under way while the next picture is read, placed and packed.
            if len(flying) > self.overlap or not line.waiting():
                flight = flying.popleft()
                self.land(flight)
                count.add(len(flight.batch.places), line)
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
        if self.effort.preset == "instant":
            return self.begin_instant(picture, pixels, frame)
        maps, embedding = self.look(pixels)
        if self.manifest.maps.groups:
            maps = principal_maps(maps, self.manifest.maps.groups, self.manifest.maps.components)
        alive = live(maps)
        run = self.chosen(maps, alive)
        embeddings = np.broadcast_to(self.base(), (len(maps), self.manifest.dim)).copy()
        return Job(
            picture=picture,
            pixels=pixels,
            frame=frame,
            maps=maps,
            embedding=embedding,
            waiting=deque(np.flatnonzero(run).tolist()),
            embeddings=embeddings,
            alive=alive,
            known=run | ~alive,
        )

    def begin_instant(self, picture: Pixels, pixels: Pixels, frame: Frame) -> Job:
        """Read a picture's maps and, in the same pass, what the attention pool makes of their masks."""
        outputs = self.sessions["instant"].run({"pixels": pixels[np.newaxis]})
        for name, values in outputs.items():
            check_finite(values, name)
        if self.spec.base == "mean":
            with self.lock:
                self.known_base = outputs["base"]
        maps, embeddings = outputs["maps"], outputs["embeddings"]
        alive = live(maps)
        embeddings[~alive] = self.base()
        return Job(picture, pixels, frame, maps, outputs["embedding"], deque(), embeddings, alive, ~alive)

    def chosen(self, maps: Floats, alive: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which maps `(K,)` to run: all that live, or those that tell most about the others."""
        effort = self.effort
        if effort.preset == "exact" or effort.passes >= int(alive.sum()):
            return alive
        run = np.zeros_like(alive)
        run[choose(Kinship.of(maps, alive), alive, effort.passes)] = True
        return run

    def look(self, pixels: Pixels) -> tuple[Floats, Floats]:
        """Run the image graph on a square: raw maps `(K, h, w)` and the unit embedding `(D,)`."""
        outputs = self.sessions["image"].run({"pixels": pixels[np.newaxis]})
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
        self.land(self.launch(batch))

    def launch(self, batch: Batch) -> Flight:
        """Begin the masked graph on a batch, which nobody changes from here on."""
        return Flight(batch, self.sessions["masked"].start({"pixels": batch.pixels, "which": batch.which, "maps": batch.maps}))

    def land(self, flight: Flight) -> None:
        """Wait for a batch and hand its embeddings to their pictures."""
        embeddings = self.landed(flight)
        for row, (job, index) in enumerate(flight.batch.places):
            job.embeddings[index] = embeddings[row]
            job.missing -= 1

    def landed(self, flight: Flight) -> Floats:
        """Wait for a batch: unit embeddings `(B, D)`."""
        embeddings = flight.pending()["embeddings"]
        check_finite(embeddings, "embeddings")
        return embeddings

    def run_arrays(self, batch: Batch) -> Floats:
        """Run the masked graph on a batch: unit embeddings `(B, D)`."""
        return self.landed(self.launch(batch))

    def masked_embeddings(self, pixels: Pixels, maps: Floats) -> Floats:
        """Run any number of maps `(n, h, w)` of one square: unit embeddings `(n, D)`."""
        size, found = self.manifest.batch, []
        for start in range(0, len(maps), size):
            batch, part = self.empty_batch(), maps[start : start + size]
            batch.pixels[0], batch.maps[: len(part)] = pixels, part
            found.append(self.run_arrays(batch)[: len(part)])
        return np.concatenate(found)

    def finish(self, job: Job) -> Scene:
        """Make the scene of a picture whose passes are all back; maps that were not run are predicted from those that were."""
        embeddings = job.embeddings
        if self.effort.preset == "fast" and not job.known.all():
            told = predict(Kinship.of(job.maps, job.alive), job.known & job.alive, embeddings)
            embeddings = np.where(job.alive[:, None], told, embeddings)
        return Scene(
            maps=job.maps,
            embeddings=embeddings,
            base=self.base(),
            embedding=job.embedding,
            frame=job.frame,
            live=int(job.alive.sum()),
            passes=max(1, job.passes) if self.effort.preset == "instant" else job.passes,
            preset=self.effort.preset,
            precision=self.precision,
            backbone=self.manifest.backbone,
            fingerprint=self.fingerprint,
            picture=job.picture,
            known=job.known,
            guide=shrink(job.pixels, (job.maps.shape[1], job.maps.shape[2])),
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
