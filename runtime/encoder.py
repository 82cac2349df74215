"""Pictures in, scenes out: the masked passes, packed into full batches of one fixed shape.

A batch holds passes of up to `slots` pictures, so that when one picture's last passes leave room, the next picture's
first ones fill it. Constant maps are never run: their masked copy is the blank picture, the base, which is itself run once,
as one row of the first batch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.components import principal_maps
from engine.frame import Frame
from engine.manifest import Manifest, fingerprint
from engine.masks import live_maps
from engine.outline import shrink
from engine.patches import shown_patches
from engine.prediction import choose_maps
from engine.spec import Geometry, Spec
from runtime.backends.session import Pending, Session
from runtime.errors import BundleError
from runtime.findings import Findings
from runtime.preprocess import fit_to_square
from runtime.presets import EXACT, PassPlan
from runtime.scene import Floats, Scene

Progress = Callable[[int, int], None]
StreamProgress = Callable[[int, int | None], None]  # of many pictures: without a total where nobody knows how many will come
Pixels = NDArray[np.uint8]

BLANK = -1  # in place of a map's number: the blank picture, whose embedding is the base


@dataclass(eq=False)
class PictureJob:
    """A picture on its way to becoming a scene, whose arrays are filled as its passes come back."""

    scene: Scene
    pixels: Pixels  # (R, R, 3), as the model sees it
    waiting: deque[int]  # maps that are not yet in a batch
    missing: int  # passes that are not yet back


@dataclass(frozen=True)
class PendingBatch:
    """A batch under way, and the picture and map that each of its rows belongs to."""

    rows: list[tuple[PictureJob, int]]
    outputs: Pending


class PictureQueue:
    """Pictures in line: those begun, in order, and those still to come."""

    def __init__(
        self, pictures: Iterable[Pixels], begin: Callable[[Pixels], PictureJob], on_failure: Callable[[Exception], None] | None
    ) -> None:
        self.source, self.begin, self.on_failure = iter(pictures), begin, on_failure
        self.jobs: deque[PictureJob] = deque()
        self.begun = 0
        self.more = True
        self.failure: Exception | None = None

    def fill(self, batch: int) -> None:
        """Begin pictures until a whole batch waits, the first picture is complete, or there are no more."""
        while self.more and self.waiting < batch and not self.first_is_complete:
            try:
                self.jobs.append(self.begin(next(self.source)))
                self.begun += 1
            except StopIteration:
                self.more = False
            except Exception as error:  # whatever reading or placing a picture raises: raised again, in its turn
                self.begun += 1
                if self.on_failure is None:
                    self.more, self.failure = False, error
                else:
                    self.on_failure(error)

    @property
    def first_is_complete(self) -> bool:
        """Whether the passes of the first picture are all back."""
        return bool(self.jobs) and not self.jobs[0].missing

    @property
    def waiting(self) -> int:
        """Passes that could run now."""
        return sum(len(job.waiting) for job in self.jobs)

    @property
    def missing(self) -> int:
        """Passes of pictures already begun that are not back yet."""
        return sum(job.missing for job in self.jobs)


class SceneEncoder:
    """Runs the image half of a bundle. Holds no picture; safe to share between threads."""

    def __init__(
        self,
        manifest: Manifest,
        sessions: dict[str, Session],
        spec: Spec,
        plan: PassPlan = EXACT,
        *,
        precision: str | None = None,
        overlap: bool = False,
    ) -> None:
        """Take the sessions of the image half's graphs by name; `overlap` begins a batch before the last one is back."""
        self.manifest, self.sessions, self.spec, self.plan = manifest, sessions, spec, plan
        self.precision = manifest.precision if precision is None else precision
        self.overlap = overlap
        few = plan.preset == "fast" and manifest.small_batch < manifest.batch
        self.masked, self.batch = ("masked-small", manifest.small_batch) if few else ("masked", manifest.batch)
        self.fingerprint = fingerprint(manifest)
        self.lock = threading.Lock()
        self.base: Floats | None = None

    def encode(
        self,
        pictures: Iterable[Pixels],
        progress: StreamProgress | None = None,
        expected: int | None = None,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> Iterator[Scene]:
        """Turn pictures into scenes, in order; `expected` pictures give the progress its total, which only ever shrinks.

        When a picture fails, those begun are finished and given first, and the failure raised after them; or it is left out
        and `on_failure` is told.
        """
        queue = PictureQueue(pictures, self.begin, on_failure)
        under_way: deque[PendingBatch] = deque()
        done, total = 0, None
        while True:
            queue.fill(self.batch)
            if queue.first_is_complete:
                yield self.finish(queue.jobs.popleft())
                continue
            if queue.waiting:
                under_way.append(self.start_batch(queue.jobs))
            elif not under_way:
                break
            # On a card one batch stays under way while the next picture is read, placed and packed.
            if len(under_way) > self.overlap or not queue.waiting:
                done += self.collect(under_way.popleft())
                if progress is not None:
                    if expected is not None:
                        total = done + queue.missing + self.most_passes * max(0, expected - queue.begun)
                    progress(done, total)
        if progress is not None and done and done != total:  # the last pictures had fewer live maps than they were counted at
            progress(done, done)
        if queue.failure is not None:
            raise queue.failure

    def encode_maps(self, picture: Pixels, which: Sequence[int]) -> Scene:
        """Run only these maps of a picture, for checks that need no whole one: `known` says so, and the others score 0."""
        return self.encode_some(*self.look(picture), which)

    def encode_some(self, scene: Scene, pixels: Pixels, which: Sequence[int]) -> Scene:
        """The same for a picture that was looked at already."""
        chosen = np.asarray(which, dtype=np.intp)
        scene.known[scene.live] = False
        scene.known[chosen] = True
        blank = np.zeros((int(self.base is None and self.spec.base == "mean"), *scene.maps.shape[1:]), dtype=np.float32)
        found = self.run_maps(pixels, np.concatenate([blank, scene.maps[chosen]]))  # the base needs no batch of its own
        if len(blank):
            self.base = found[0].copy()
        self.fill_in_base(scene)
        scene.embeddings[~scene.known] = scene.base
        scene.embeddings[chosen] = found[len(blank) :]
        return scene.learn(scene.embeddings, scene.known, len(chosen))

    def run_maps(self, pixels: Pixels, maps: Floats) -> Floats:
        """Run any number of maps `(n, h, w)` of one square `(R, R, 3)`: unit embeddings `(n, D)`."""
        found = [self.start(inputs)()["embeddings"] for inputs in self.batches(pixels, maps)]
        return np.concatenate(found)[: len(maps)] if found else np.zeros((0, self.manifest.dim), dtype=np.float32)

    def batches(self, pixels: Pixels, maps: Floats) -> Iterator[dict[str, NDArray[Any]]]:
        """What the masked graph takes to run maps `(n, h, w)` of one square `(R, R, 3)`; the last batch is padded."""
        slots = np.zeros((self.manifest.slots, *pixels.shape), dtype=np.uint8)
        slots[0] = pixels
        size = self.batch
        for start in range(0, len(maps), size):
            part = np.zeros((size, *maps.shape[1:]), dtype=np.float32)
            part[: len(maps) - start] = maps[start : start + size]
            yield {"pixels": slots, "which": np.zeros(size, dtype=np.int64), "maps": part}

    @property
    def most_passes(self) -> int:
        """Passes that a picture may take."""
        return self.plan.most_passes(self.manifest.maps.count)

    def begin(self, picture: Pixels) -> PictureJob:
        """Read a picture's maps and choose those to run: all that live, or those that tell most about the others."""
        preset = self.plan.preset
        guesses = preset != "exact" and "instant" in self.sessions
        scene, pixels = self.look_instantly(picture) if guesses else self.look(picture)
        if preset == "instant":
            return PictureJob(scene, pixels, deque(), 0)
        known = np.ones(len(scene.maps), dtype=bool)
        if preset == "fast" and self.plan.passes < int(scene.live.sum()):
            known[scene.live] = False
            known[choose_maps(scene.kernel, scene.live, self.plan.passes)] = True
        waiting = deque(np.flatnonzero(known & scene.live).tolist())
        if waiting or not guesses:
            scene = scene.learn(scene.embeddings.copy(), known, len(waiting))
        if self.base is None and self.spec.base == "mean":
            waiting.appendleft(BLANK)
        return PictureJob(scene, pixels, waiting, len(waiting))

    def look(self, picture: Pixels) -> tuple[Scene, Pixels]:
        """Place a picture on the model's square and read its maps: a scene without passes, and the square `(R, R, 3)`."""
        pixels, frame = self.place(picture)
        outputs = self.run_checked("image", pixels)
        return self.scene(picture, pixels, frame, outputs), pixels

    def look_instantly(self, picture: Pixels) -> tuple[Scene, Pixels]:
        """Read a picture's maps and, in the same pass, a guess of every masked copy, which `fast` begins with; and the square."""
        pixels, frame = self.place(picture)
        outputs = self.run_checked("instant", pixels)
        guesses, mean = self.plan.preset == "fast", self.spec.base == "mean"
        if mean and (self.precision == "fp32" or not guesses):
            with self.lock:
                self.base = outputs["base"] if self.base is None else self.base
        scene = self.scene(picture, pixels, frame, outputs)
        self.fill_in_base(scene)
        told = shown_patches(scene.maps, scene.embedding, outputs["patches"]) if "patches" in outputs else outputs["embeddings"]
        if mean and self.precision != "fp32" and guesses:
            # Passes of less than float32 round the base as they round all masked copies; a guess is told relative to that.
            told = told + (scene.base - outputs["base"])
        if not scene.live.all():
            told = np.where(scene.live[:, None], told, scene.base)
        return replace(scene, embeddings=told, known=~scene.live, passes=1, guess=told if guesses else None), pixels

    def scene(self, picture: Pixels, pixels: Pixels, frame: Frame, outputs: dict[str, Floats]) -> Scene:
        """A scene that still lacks its passes and its base."""
        maps, info = outputs["maps"], self.manifest.maps
        if info.groups:
            maps = principal_maps(maps, info.groups, info.components)
        count, dim = len(maps), self.manifest.dim
        return Scene(
            maps=maps,
            embeddings=np.zeros((count, dim), dtype=np.float32),
            base=np.zeros(dim, dtype=np.float32),
            embedding=outputs["embedding"],
            frame=frame,
            live=live_maps(maps),
            known=np.ones(count, dtype=bool),
            passes=0,
            preset=self.plan.preset,
            precision=self.precision,
            backbone=self.manifest.backbone,
            fingerprint=self.fingerprint,
            picture=picture,
            guide=shrink(pixels, (maps.shape[1], maps.shape[2])),
            blank=self.spec.base,
        )

    def place(self, picture: Pixels, geometry: Geometry | None = None) -> tuple[Pixels, Frame]:
        """Fit a picture to the model's square, as the spec wants it unless told otherwise."""
        info = self.manifest.image
        return fit_to_square(picture, info.side, geometry or self.spec.geometry, info.resample, info.mean)

    def start_batch(self, jobs: Iterable[PictureJob]) -> PendingBatch:
        """Fill a batch from the first pictures that wait, and begin it; what stays empty is padded with blank passes."""
        info, maps = self.manifest, self.manifest.maps
        pixels = np.zeros((info.slots, info.image.side, info.image.side, 3), dtype=np.uint8)
        which = np.zeros(self.batch, dtype=np.int64)
        planes = np.zeros((self.batch, maps.height, maps.width), dtype=np.float32)
        rows: list[tuple[PictureJob, int]] = []
        for slot, job in enumerate([job for job in jobs if job.waiting][: info.slots]):
            pixels[slot] = job.pixels
            while job.waiting and len(rows) < self.batch:
                index = job.waiting.popleft()
                which[len(rows)] = slot
                if index != BLANK:  # a plane of zeros is a mask of zeros, and pixels times zero are CLIP's mean colour
                    planes[len(rows)] = job.scene.maps[index]
                rows.append((job, index))
        return PendingBatch(rows, self.start({"pixels": pixels, "which": which, "maps": planes}))

    def start(self, inputs: dict[str, NDArray[Any]]) -> Pending:
        """Begin the masked graph on arrays that nobody changes from here on; its outputs are checked when they are back."""
        pending = self.sessions[self.masked].start(inputs)

        def finished() -> dict[str, Floats]:
            outputs = pending()
            check_finite(outputs["embeddings"], "embeddings")
            return outputs

        return finished

    def collect(self, batch: PendingBatch) -> int:
        """Wait for a batch and hand its embeddings to their pictures; gives the number of maps that were run."""
        embeddings = batch.outputs()["embeddings"]
        for row, (job, index) in enumerate(batch.rows):
            job.missing -= 1
            if index != BLANK:
                job.scene.embeddings[index] = embeddings[row]
            else:
                with self.lock:  # another thread may have run it meanwhile: one base serves all
                    self.base = embeddings[row].copy() if self.base is None else self.base
        return sum(index != BLANK for _, index in batch.rows)

    def finish(self, job: PictureJob) -> Scene:
        """Complete a scene whose passes are all back; maps that were not run are predicted from those that were."""
        scene = job.scene
        self.fill_in_base(scene)
        if scene.preset != "fast" or not (scene.known & scene.live).any():
            return scene
        return replace(scene, guess=None) if scene.known.all() else Findings.of(scene).to_scene()

    def fill_in_base(self, scene: Scene) -> None:
        """Give a scene the blank picture's embedding, which is that of its constant maps too."""
        if self.base is None and self.spec.base == "black":
            side = self.manifest.image.side
            self.base = self.run_checked("image", np.zeros((side, side, 3), dtype=np.uint8))["embedding"]
        elif self.base is None:
            side, maps = self.manifest.image.side, self.manifest.maps
            blank = np.zeros((1, maps.height, maps.width), dtype=np.float32)
            self.base = self.run_maps(np.zeros((side, side, 3), dtype=np.uint8), blank)[0]
        scene.base[:] = self.base
        if not scene.live.all():
            scene.embeddings[~scene.live] = self.base

    def run_checked(self, graph: str, pixels: Pixels) -> dict[str, Floats]:
        """Run a graph of one picture; its outputs must be finite."""
        outputs = self.sessions[graph].run({"pixels": pixels[np.newaxis]})
        for name, values in outputs.items():
            check_finite(values, name)
        return outputs


def counting(progress: Progress | None, further: int = 0) -> StreamProgress | None:
    """A picture's progress, with the passes that will follow those of its encoding."""
    if progress is None:
        return None

    def count(done: int, total: int | None) -> None:
        progress(done, (total or done) + further)

    return count


def check_finite(values: Floats, what: str) -> None:
    """Refuse NaN and infinity as soon as they appear: a bundle that makes them is broken on this machine."""
    if not np.isfinite(values).all():
        raise BundleError(f"the model's {what} hold NaN or infinity; build the bundle again (fp32 if it is fp16)")
