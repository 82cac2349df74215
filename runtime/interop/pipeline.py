"""The call of `transformers.pipeline("zero-shot-object-detection")`, answered by a Localizer.

Code written for that pipeline goes on working when the line that imports `pipeline` says `from runtime.interop`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from engine.records import shown
from runtime.errors import ArgumentError
from runtime.localizer import Localizer
from runtime.pictures import Picture

TASK = "zero-shot-object-detection"
Detection = dict[str, Any]


class ZeroShotDetector:
    """Call it with a picture and labels: a list of `{"score", "label", "box": {"xmin", "ymin", "xmax", "ymax"}}`, best first."""

    def __init__(self, localizer: Localizer) -> None:
        self.localizer = localizer

    def __call__(
        self,
        image: Picture | Sequence[Picture] | Mapping[str, Any] | Sequence[Mapping[str, Any]],
        candidate_labels: str | Sequence[str] | Sequence[Sequence[str]] | None = None,
        *,
        threshold: float = 0.1,
        top_k: int | None = None,
    ) -> list[Detection] | list[list[Detection]]:
        """A picture, or `{"image", "candidate_labels"}`, gives a list of boxes; a list of either gives a list of lists.

        Pictures of a list are all asked the same labels, or each its own where a list of labels is given for each.
        """
        if not isinstance(image, list | tuple):
            return self.detect(*split(image, candidate_labels), threshold, top_k)
        each = candidate_labels is not None and all(isinstance(labels, list | tuple) for labels in candidate_labels)
        several = list(candidate_labels or []) if each else [candidate_labels] * len(image)
        if len(several) != len(image):
            raise ArgumentError(f"`candidate_labels` has lists for {len(several)} pictures, and there are {len(image)}")
        return [self.detect(*split(one, labels), threshold, top_k) for one, labels in zip(image, several, strict=True)]

    def detect(self, picture: Picture, labels: Sequence[str], threshold: float, top_k: int | None) -> list[Detection]:
        """The boxes of one picture whose score is above the threshold."""
        boxes = [box for answer in self.localizer(picture, list(labels)) for box in answer if box.score > threshold]
        boxes.sort(key=lambda box: -box.score)
        return [
            {
                "score": box.score,
                "label": box.label,
                "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), (int(edge) for edge in box.xyxy), strict=True)),
            }
            for box in boxes[:top_k]
        ]


def pipeline(task: str = TASK, model: str | os.PathLike[str] | Localizer | None = None, **options: Any) -> ZeroShotDetector:  # noqa: ANN401
    """Open a model for the task; `model` and `options` are those of Localizer, or `model` is an open one."""
    if task != TASK:
        raise ArgumentError(f"`task` must be `{TASK}`, found {shown(task)}")
    if isinstance(model, Localizer):
        if options:
            raise ArgumentError(f"the Localizer given is open already: {', '.join(options)} cannot change it")
        return ZeroShotDetector(model)
    return ZeroShotDetector(Localizer(model, **options))


def split(image: Any, labels: Any) -> tuple[Picture, list[str]]:  # noqa: ANN401 - either form
    """The picture and its labels, which may come with it; a text holds several with commas between them."""
    if isinstance(image, Mapping):
        if "image" not in image or "candidate_labels" not in image:
            raise ArgumentError(f"an input needs `image` and `candidate_labels`, found {', '.join(map(str, image)) or 'nothing'}")
        image, labels = image["image"], image["candidate_labels"]
    if not labels:
        raise ArgumentError("no `candidate_labels` were given: name what to look for, as in ['a cat', 'a dog']")
    return image, labels.split(",") if isinstance(labels, str) else list(labels)
