"""Our own ways: a bundle, opened as users open it. Nothing here imports PyTorch."""

from __future__ import annotations

import contextlib
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from bench.compare.job import Agreement, Facts, Job, Reference, Turn, UnavailableError, Whole
from bench.compare.partial import partial_scene
from bench.compare.queries import ask
from bench.compare.scores import compare
from runtime import Localizer, Query
from runtime.bundles import find_bundle
from runtime.errors import BundleError, DeviceError
from runtime.pictures import read_picture

LIBRARIES = ("onnxruntime", "openvino", "numpy")


class EnoughError(Exception):
    """Thrown by the clock, to stop a picture after so many passes."""


class PassClock:
    """A progress callback that times passes: from the end of the first batch to the end of the one that completes them."""

    def __init__(self, wanted: int) -> None:
        self.wanted = wanted
        self.first: tuple[int, float] | None = None
        self.passes, self.seconds = 0, 0.0

    def __call__(self, done: int, total: int) -> None:
        """Note the time; raises EnoughError after the last batch."""
        now = time.perf_counter()
        if self.first is None:
            self.first = (done, now)
            return
        self.passes, self.seconds = done - self.first[0], now - self.first[1]
        if self.passes >= self.wanted:
            raise EnoughError


class Ours:
    """`Localizer` with a device, a precision, a preset and a bundle."""

    def __init__(self, job: Job, reference: Reference, *, bundle: str = "fp32", **options: str) -> None:
        self.job, self.reference, self.options = job, reference, options
        self.preset = options.get("preset", "exact")
        self.localizer = opened(job, bundle, options)
        self.picture = read_picture(job.picture)

    def facts(self) -> Facts:
        """What was opened; the presets that skip maps are timed on whole pictures."""
        used = self.localizer.device + (f": {self.localizer.info['backend']}" if "backend" in self.localizer.info else "")
        extra = {"opened_in_s": round(self.localizer.opened_in, 3), "batch": float(self.localizer.manifest.batch)}
        needed = self.reference.needed if self.preset == "exact" else 0
        return Facts(needed, used, versions(), extra)

    def check(self) -> Agreement:
        """Scores of the sample; for the presets that skip maps, that they are what they say they are."""
        if "torch" in sys.modules:
            raise UnavailableError("PyTorch was imported by the runtime; its memory would be counted")
        if self.preset != "exact":
            return self.check_preset()
        scene = partial_scene(self.localizer, self.picture, self.reference.sample.tolist())
        text = self.localizer.text.embed([Query((self.job.query,))])[0]
        return compare((scene.embeddings[self.reference.sample] - scene.base) @ text, self.reference.scores)

    def check_preset(self) -> Agreement:
        """An answer of the preset asked for, with fewer passes than maps, and a finite saliency."""
        found = self.localizer(self.picture, self.job.query)
        if found.preset != self.preset or found.passes >= self.reference.needed:
            raise UnavailableError(f"asked for `{self.preset}`, found `{found.preset}` with {found.passes} passes")
        if not np.isfinite(found.map).all():
            raise UnavailableError("its saliency is not finite")
        return Agreement(0.0, 0.0, 0, 0, f"{found.passes} passes; its answers are compared in the accuracy benchmark")

    def turn(self) -> Turn:
        """So many passes of a picture, as users run them; or a whole picture, where the preset makes it short."""
        if self.preset != "exact":
            return Turn(0, 0.0, once=self.whole().seconds)
        clock = PassClock(self.job.passes)
        with contextlib.suppress(EnoughError):
            self.localizer.encode(self.picture, progress=clock)
        if not clock.passes:
            raise UnavailableError("the picture has no more passes than one batch; choose a larger backbone")
        return Turn(clock.passes, clock.seconds)

    def whole(self) -> Whole:
        """From the picture to the boxes, the words included."""
        started = time.perf_counter()
        scene = self.localizer.encode(self.picture)
        found = self.localizer.locate(scene, self.job.query)
        seconds = time.perf_counter() - started
        scores = None
        if self.preset == "exact":
            text = self.localizer.text.embed([Query((self.job.query,))])
            scores, _ = next(self.localizer.answerer.scores_and_maps(scene, text))
        return Whole(seconds, found.passes, found.xyxy, found.map, scores)

    def queries(self, several: int) -> dict[str, float]:
        """Milliseconds per further query on an encoded scene."""
        return ask(self.localizer, self.picture, several)


def opened(job: Job, precision: str, options: dict[str, str]) -> Localizer:
    """Open the bundle, or say why it cannot be opened here."""
    wanted = job.bundle(precision)
    chosen: dict[str, Any] = {"spec": job.spec, "threads": job.threads, **options}
    try:
        return Localizer(find_bundle(wanted), **chosen)
    except BundleError as error:
        raise UnavailableError(first_line(error)) from None
    except DeviceError as error:
        raise UnavailableError(first_line(error)) from None
    except TypeError as error:
        raise UnavailableError(f"this version of vlscore cannot be asked for it ({error})") from None


def first_line(error: Exception) -> str:
    """What an error says before its advice: what was asked, and the cause where it names one."""
    line = str(error).splitlines()[0]
    cause = line.partition("Cause: ")[2].split(". ")[0].split(", and it never")[0]
    return line.split("; found")[0] + (f": {cause}" if cause else "")


def versions() -> dict[str, str]:
    """The libraries that are installed, of those that run graphs."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
