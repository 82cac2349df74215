"""Our own contenders: a bundle, opened as users open it. Nothing here imports PyTorch."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.compare.machine import versions
from bench.compare.task import (
    Agreement,
    Facts,
    Reference,
    Task,
    Turn,
    UnavailableError,
    WholePicture,
    compare_scores,
    picture_turn,
)
from runtime import Localizer, Query, Scene
from runtime.bundles import find_bundle
from runtime.errors import BundleError, DeviceError
from runtime.pictures import read_picture

REPEATS = 5
ENCODED = 32  # maps that are run for further queries: enough for an answer with boxes; what one costs does not depend on it


class Ours:
    """`Localizer` with a device, a precision, a preset and a bundle."""

    def __init__(self, task: Task, reference: Reference, *, bundle: str = "fp32", **options: str) -> None:
        self.task, self.reference = task, reference
        self.preset = options.get("preset", "exact")
        self.localizer = open_bundle(task, bundle, options)
        self.picture = read_picture(task.picture)

    def facts(self) -> Facts:
        """What was opened; the presets that skip maps are timed on whole pictures."""
        extra = {"opened_in_s": round(self.localizer.opened_in, 3), "batch": float(self.localizer.manifest.batch)}
        needed = self.reference.needed if self.preset == "exact" else 0
        device = f"{self.localizer.device}: {self.localizer.info['backend']}"
        return Facts(needed, device, versions("onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "numpy"), extra)

    def check(self) -> Agreement:
        """Scores of the sample; for the presets that skip maps, that they are what they say they are."""
        if "torch" in sys.modules:
            raise UnavailableError("PyTorch was imported by the runtime; its memory would be counted")
        if self.preset != "exact":
            return self.check_preset()
        sample = self.reference.sample
        scene = self.localizer.encoder.encode_maps(self.picture, sample.tolist())
        text = self.localizer.text.embed([Query((self.task.query,))])[0]
        return compare_scores((scene.embeddings[sample] - scene.base) @ text, self.reference.scores)

    def check_preset(self) -> Agreement:
        """An answer of the preset asked for, with fewer passes than maps, and a finite saliency."""
        found = self.localizer(self.picture, self.task.query)
        if found.preset != self.preset or found.passes >= self.reference.needed:
            raise UnavailableError(f"asked for `{self.preset}`, found `{found.preset}` with {found.passes} passes")
        if not np.isfinite(found.map).all():
            raise UnavailableError("its saliency is not finite")
        return Agreement(0.0, 0.0, 0, 0, f"{found.passes} passes; its answers are compared by bench.accuracy.frontier")

    def turn(self) -> Turn:
        """So many passes, whole batches, after one batch to warm up; or whole pictures, where they are asked for or short."""
        if self.preset != "exact" or not self.task.passes:
            return picture_turn(self.whole)
        encoder, batch = self.localizer.encoder, self.localizer.manifest.batch
        seen, square = encoder.look(self.picture)
        maps = seen.maps[seen.live][: batch * max(1, self.task.passes // batch)]
        encoder.run_maps(square, maps[:batch])
        started = time.perf_counter()
        encoder.run_maps(square, maps)
        return Turn(len(maps), time.perf_counter() - started)

    def whole(self) -> WholePicture:
        """From the picture to the boxes, the words included; answers are on the host, so the device is done."""
        started = time.perf_counter()
        scene = self.localizer.encode(self.picture)
        found = self.localizer.locate(scene, self.task.query)
        seconds = time.perf_counter() - started
        scores = None
        if self.preset == "exact":
            text = self.localizer.text.embed([Query((self.task.query,))])
            scores, _ = next(self.localizer.answerer.scores_and_maps(scene, text))
        return WholePicture(seconds, found.passes, found.xyxy, found.map, scores)

    def queries(self, several: int) -> dict[str, float]:
        """Milliseconds per further query on an encoded scene: one in new words, one in known ones, and several."""
        scene = self.localizer.encoder.encode_maps(self.picture, np.flatnonzero(self.reference.live)[:ENCODED].tolist())
        self.ask(scene, ["a thing to warm up with"])
        new, known = ([self.ask(scene, [f"thing number {number}"]) for number in range(REPEATS)] for _ in range(2))
        vocabulary = [f"a thing of kind {number}" for number in range(several)]
        first, *again = [self.ask(scene, vocabulary) for _ in range(4)]
        return {
            "one_new_ms": 1000 * float(np.median(new)),
            "one_known_ms": 1000 * float(np.median(known)),
            "several": float(several),
            "several_new_ms": 1000 * first,
            "several_known_ms": 1000 * float(np.median(again)),
        }

    def ask(self, scene: Scene, queries: Sequence[str]) -> float:
        """Seconds of one question."""
        started = time.perf_counter()
        self.localizer.locate(scene, list(queries))
        return time.perf_counter() - started


def open_bundle(task: Task, precision: str, options: dict[str, str]) -> Localizer:
    """Open the bundle, or say why it cannot be opened here."""
    chosen: dict[str, Any] = {"spec": task.spec, "threads": task.threads, **options}
    if task.card_number:
        chosen["device"] = f"{chosen['device']}:{task.card_number}"
    try:
        return Localizer(find_bundle(task.bundle(precision)), **chosen)
    except (BundleError, DeviceError) as error:
        line = str(error).splitlines()[0]
        cause = line.partition("Cause: ")[2].split(". ")[0].split(", and it never")[0]
        reason = line.split("; found")[0] + (f": {cause}" if cause else "")
        folder = Path(task.bundle(precision)).parent  # records tell nothing of a machine's folders
        raise UnavailableError(reason.replace(f"{folder}/", "")) from None
