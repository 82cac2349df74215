"""What a picture shows, of a list of labels; and where, by the same model or another one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.records import shown
from engine.softmax import softmax
from runtime.errors import ArgumentError, QueryError, SceneError
from runtime.localization import Localization
from runtime.pictures import Picture, Pixels, read_picture
from runtime.query import Query, Several, as_queries
from runtime.scene import Floats, Scene

if TYPE_CHECKING:
    from runtime.localizer import Localizer


@dataclass(frozen=True, slots=True)
class Label:
    """A label that a picture may have: its probability among all labels of the list, and its cosine with the picture."""

    label: str
    probability: float
    similarity: float
    found: Localization | None = field(default=None, repr=False)  # where it is, if that was asked


def classify(localizer: Localizer, picture: Picture | Scene, labels: Several, top_k: int) -> list[Label]:
    """The labels that suit a picture best, best first."""
    queries = competing(labels, localizer.templates, top_k)
    return [label for label, _ in ranked(localizer, picture, queries, top_k)]


def detect(
    localizer: Localizer, picture: Picture | Scene, labels: Several, top_k: int, classifier: Localizer | None
) -> list[Label]:
    """The labels that suit a picture best by a classifier, and where a localizer finds each."""
    classifier = localizer if classifier is None else classifier
    if not hasattr(classifier, "classify"):
        raise ArgumentError(f"`classifier` must be a Localizer, found {shown(classifier)} ({type(classifier).__name__})")
    queries = competing(labels, classifier.templates, top_k)
    competing(labels, localizer.templates, top_k)
    if isinstance(picture, Scene):
        scene, seen = picture, picture if classifier.fingerprint == picture.fingerprint else whole(picture)
        best = ranked(classifier, seen, queries, top_k)
    else:
        pixels = read_picture(picture)
        best = ranked(classifier, pixels, queries, top_k)  # before the passes: a fault is told at once
        scene = localizer.encode(pixels)
    asked = as_queries(labels, localizer.templates)
    found = localizer.locate(scene, [asked[number] for _, number in best])
    return [replace(label, found=one) for (label, _), one in zip(best, found, strict=True)]


def competing(labels: Several, templates: tuple[str, ...], top_k: object) -> list[Query]:
    """The labels as queries; a list that decides nothing is refused."""
    if isinstance(top_k, bool) or not isinstance(top_k, int) or top_k < 1:
        raise ArgumentError(f"`top_k` must be a whole number above 0, found {shown(top_k)}")
    queries = as_queries(labels, templates)
    names = [query.label for query in queries]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise QueryError(f"the label {shown(twice)} is in the list twice: the two would share one probability; give it once")
    if len(queries) < 2:
        raise QueryError("one label alone has nothing to compete with: its probability would be 1; give several, or ask `locate`")
    return queries


def ranked(localizer: Localizer, picture: Picture | Scene, queries: list[Query], top_k: int) -> list[tuple[Label, int]]:
    """The best labels and their places in the list."""
    cosines = localizer.text.embed(queries).astype(np.float64) @ embedding_of(localizer, picture)
    logits = localizer.manifest.logit_scale * cosines
    shares = softmax(logits)
    order = np.argsort(-shares, kind="stable")[:top_k]
    return [(Label(queries[at].label, float(shares[at]), float(cosines[at])), int(at)) for at in order]


def embedding_of(localizer: Localizer, picture: Picture | Scene) -> Floats:
    """A picture's embedding `(D,)`: a pass, or what a scene of the same model has."""
    if not isinstance(picture, Scene):
        localizer.check_image_half()
        return localizer.encoder.look(read_picture(picture))[0].embedding
    if picture.fingerprint != localizer.fingerprint:
        raise SceneError(
            f"this scene was made by another model ({picture.backbone}) or another build of it than the one open "
            f"({localizer.manifest.backbone}, {localizer.manifest.precision}); open that one, or classify the picture itself"
        )
    return picture.embedding


def whole(scene: Scene) -> Pixels:
    """The picture of a scene, for a model that did not encode it."""
    if scene.picture is None:
        raise SceneError("another model is to classify this scene, which was saved without its picture; give the picture itself")
    return scene.picture
