"""Where answers come from: a model that looks at the pictures, or a folder of score maps that somebody else made."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bench.evaluate.data import DataError, Pixels, Sample
from engine.frame import Frame
from engine.metrics.max_box import SIDE, score_map
from engine.saliency import to_picture
from engine.spec import Edge, Interpolation
from runtime import Localizer, Query, Scene
from runtime.classify import embedding_of, whole

Floats = NDArray[np.float32]
Skip = Callable[[str, Exception], None]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What was said of one label: its map (h, w) in [0, 1] over the model's square, and how that lies on the picture."""

    label: int
    map: Floats
    frame: Frame
    edge: Edge = "clamp"
    margin: float | None = None
    similarity: float | None = None

    def saliency(self, interpolation: Interpolation = "bilinear", hw: tuple[int, int] | None = None) -> Floats:
        """The map spread over the picture's pixels (H, W), or over so many."""
        if hw is None or hw == self.frame.picture_hw:
            return to_picture(self.map, self.frame, self.edge, interpolation)
        return np.asarray(cv2.resize(self.saliency(interpolation), hw[::-1], interpolation=cv2.INTER_LINEAR), np.float32)

    def scores(self) -> NDArray[np.float64]:
        """The public evaluator's score map: bicubic from the grid where the whole picture was squashed onto it."""
        whole = self.frame.geometry == "squash"
        if whole and self.map.shape == (SIDE, SIDE) and self.map.max() <= 1:
            return np.clip(self.map.astype(np.float64), 0, 1)  # made by an evaluator of this kind: taken as it is
        return score_map(self.map if whole else self.saliency(hw=(SIDE, SIDE)))


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """All answers about one picture: labels that are there, labels that are not, and all labels' similarities (L,)."""

    there: list[Answer]
    absent: list[Answer]
    similarities: Floats | None = None
    look: Look | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A picture (`pixels`), what a model makes of any other, and the colour that shows it nothing."""

    pixels: Pixels
    similarity: Callable[[Pixels, int], float]  # with a label, after one pass
    blank: Pixels


class ModelAnswers:
    """Asks a Localizer; the passes of neighbouring pictures share batches."""

    def __init__(
        self,
        localizer: Localizer,
        labels: Sequence[tuple[str, ...]],
        templates: str | None,
        classifier: Localizer | None,
        together: bool,
    ) -> None:
        """Take the labels as queries; a classifier ranks them all, `together` lets those of one picture compete."""
        self.localizer, self.classifier, self.together = localizer, classifier, together
        named = localizer.templates if templates is None else localizer.text.named_templates(templates)
        self.queries = [Query(words, named) for words in labels]
        self.classes = None if classifier is None else classifier.text.embed(self.queries)
        self.blank = np.rint(255 * np.array(localizer.manifest.image.mean)).astype(np.uint8)

    def answers(self, samples: Iterable[Sample], skip: Skip) -> Iterator[tuple[Sample, Seen]]:
        """Every sample that can be read, in order, with what was said of it."""
        under_way: deque[Sample] = deque()

        def pictures() -> Iterator[Pixels]:
            for sample in samples:
                try:
                    pixels = readable(sample)
                except (DataError, OSError) as error:
                    skip(sample.key, error)
                else:
                    under_way.append(sample)
                    yield pixels

        def left_out(_: object, error: Exception) -> None:
            skip(under_way.pop().key, error)  # pictures are read one at a time: it is the last one

        for scene in self.localizer.scenes(pictures(), on_skip=left_out):
            sample = under_way.popleft()
            things = [thing.label for thing in sample.things]
            asked = [self.queries[label] for label in (*things, *sample.absent)]
            alone = [] if self.together else [self.localizer.locate(scene, query) for query in asked]
            found = self.localizer.locate(scene, asked) if self.together else alone
            told = [
                Answer(label, one.map, one.frame, one.spec.resize, one.margin, one.similarity)
                for label, one in zip((*things, *sample.absent), found, strict=True)
            ]
            look = None if scene.picture is None else Look(scene.picture, self.similarity, self.blank)
            yield sample, Seen(told[: len(things)], told[len(things) :], self.ranked(scene), look)

    def ranked(self, scene: Scene) -> Floats | None:
        """The similarities of all labels `(L,)` to a picture, by the model that classifies."""
        if self.classifier is None or self.classes is None:
            return None
        same = self.classifier.fingerprint == scene.fingerprint
        embedding: Floats = self.classes @ embedding_of(self.classifier, scene if same else whole(scene))
        return embedding

    def similarity(self, pixels: Pixels, label: int) -> float:
        """The cosine of a picture and a label's words, after one pass."""
        encoder = self.localizer.encoder
        square, _ = encoder.place(pixels)
        return float(encoder.run_checked("image", square)["embedding"] @ self.localizer.text.embed([self.queries[label]])[0])


class FolderAnswers:
    """Score maps as the public evaluator stores them: `<key>.npy` over the squashed picture, or `<key>/<label>.npy`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def answers(self, samples: Iterable[Sample], skip: Skip) -> Iterator[tuple[Sample, Seen]]:
        """Every sample that has its maps, in order."""
        for sample in samples:
            try:
                yield sample, Seen([self.read(sample, thing.label) for thing in sample.things], [])
            except (DataError, OSError, ValueError) as error:
                skip(sample.key, error)

    def read(self, sample: Sample, label: int) -> Answer:
        """One map, whose values must lie in [0, 1]."""
        bare = str(Path(sample.key).with_suffix(""))
        own = [f"{name}/{label}.npy" for name in (sample.key, bare)]
        alone = [f"{sample.key}.npy", f"{bare}.npy"] if len(sample.things) == 1 else []
        file = next((self.folder / name for name in (*alone, *own) if (self.folder / name).is_file()), None)
        if file is None:
            raise DataError(f"`{self.folder}` has no map of `{sample.key}`, label {label}: expected {(*alone, *own)[0]}")
        values = np.load(file, allow_pickle=False)
        if values.ndim != 2 or not (values.size and values.min() >= 0 and values.max() <= 1):
            raise DataError(f"`{file}` must hold a map (h, w) of values in [0, 1], found shape {values.shape}")
        return Answer(label, np.asarray(values), Frame.fit(sample.hw, SIDE, "squash"))


def readable(sample: Sample) -> Pixels:
    """The pixels of a sample, of the size that its truth says."""
    pixels = sample.pixels()
    if pixels.shape[:2] != sample.hw:
        raise DataError(f"`{sample.key}` has {pixels.shape[:2]} pixels (height, width), its truth says {sample.hw}")
    return pixels
