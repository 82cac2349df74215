"""A picture reduced to what questions need: its maps, every noun's scores, and its truth; and the saliency made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.world.captions import with_article
from bench.world.nouns import nouns, number
from bench.world.splits import Example
from engine.frame import Frame
from engine.outline import Outline
from engine.spec import Spec
from runtime import Localizer, Query
from runtime.scene import Floats, Scene

EPS = 1e-7  # of the masks, as in the bundle's graphs
WORLD = "world"  # the name of the wordings that the models were trained on, next to the sets of templates of a bundle


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """One noun that a picture shows: its boxes (m, 4) and its visible pixels (H, W)."""

    noun: int
    boxes: NDArray[np.float64]
    mask: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ScoredPicture:
    """`scores` (N, K) are relative to the base; `similarity` and `classes` (N,) are of the whole picture."""

    picture: int  # its place in the split's list
    frame: Frame
    maps: Floats  # (K, n): the grid's cells in one row
    scaled: Floats  # (K, n): each map brought to [0, 1]
    scores: Floats
    similarity: Floats
    classes: Floats
    truths: tuple[Truth, ...]
    absent: tuple[int, ...]
    grid_hw: tuple[int, int]
    outline: Outline | None = None  # of the picture, gathered once for every spec to come

    @property
    def asked(self) -> list[int]:
        """The nouns that the picture shows, each a query."""
        return [truth.noun for truth in self.truths]


# The saliency (Q, n) of some of the nouns on a picture.
SaliencyOf = Callable[[ScoredPicture, Sequence[int]], Floats]


def score_picture(place: int, example: Example, scene: Scene, asked: Floats, classes: Floats) -> ScoredPicture:
    """Score all nouns on an encoded picture, by their unit embeddings (N, D) as they are asked for and as classes."""
    count, height, width = scene.maps.shape
    low, high = (bound(scene.maps, axis=(1, 2), keepdims=True) for bound in (np.min, np.max))
    return ScoredPicture(
        picture=place,
        frame=scene.frame,
        maps=scene.maps.reshape(count, -1),
        scaled=((scene.maps - low) / (high - low + np.float32(EPS))).reshape(count, -1),
        scores=asked @ (scene.embeddings - scene.base).T,
        similarity=asked @ scene.embedding,
        classes=classes @ scene.embedding,
        truths=truths_of(example),
        absent=tuple(number(noun) for noun in example.absent),
        grid_hw=(height, width),
        outline=scene.outline,
    )


def truths_of(example: Example) -> tuple[Truth, ...]:
    """The nouns of a picture in order; things of one noun are one truth with several boxes."""
    found = []
    for noun in dict.fromkeys(thing.noun for thing in example.things):
        things = [thing for thing in example.things if thing.noun == noun]
        mask = np.logical_or.reduce([thing.mask for thing in things])
        found.append(Truth(number(noun), np.array([thing.box for thing in things], np.float64), mask))
    return tuple(found)


def embed_nouns(localizer: Localizer, templates: str) -> Floats:
    """One unit embedding (N, D) per noun of the world, in a set of templates by name or in a sentence with `{}` in it."""
    if templates != WORLD:
        named = localizer.text.named_templates(templates)
        return localizer.text.embed([Query((noun,), named) for noun in nouns()])
    articles = {noun: with_article(noun).removesuffix(noun) for noun in nouns()}
    wordings = {noun: ("an image of a {}.", f"a photo of {article}{{}}.", "{}") for noun, article in articles.items()}
    return localizer.text.embed([Query((noun,), wording) for noun, wording in wordings.items()])


def saliency_under(spec: Spec, logit_scale: float) -> SaliencyOf:
    """The method under a spec, in numpy: what the bundle's graph computes, for many specs without a model."""
    tau = np.float32(spec.tau(logit_scale))

    def saliency_of(scored: ScoredPicture, asked: Sequence[int]) -> Floats:
        scores = scored.scores[list(asked)]
        logits = np.where(scores > 0, scores / tau, -np.inf)
        top = logits.max(axis=1, keepdims=True)
        raised = np.exp(logits - np.where(np.isfinite(top), top, 0))  # (Q, K); a query above no map has none
        weights = np.asarray(raised / np.maximum(raised.sum(axis=1, keepdims=True), np.float32(1e-30)), np.float32)
        together: Floats = weights @ (scored.scaled if spec.combine == "masks" else scored.maps)
        saliency = np.asarray(np.maximum(together, 0), np.float32)
        if spec.contrast == 0:
            return saliency
        # Take a share of the average map, brought to the same sum, away.
        common = scored.scaled.mean(axis=0, keepdims=True)
        scale = saliency.sum(axis=1, keepdims=True) / (common.sum() + np.float32(EPS))
        return np.asarray(np.maximum(saliency - np.float32(spec.contrast) * scale * common, 0), np.float32)

    return saliency_of


def shows_any(pictures: Sequence[ScoredPicture], k: int) -> NDArray[np.bool_]:
    """Per picture, whether any of the k nouns that suit it best is one that it shows (P,): zero-shot classification."""
    best = [np.argsort(-scored.classes, kind="stable")[:k] for scored in pictures]
    return np.array([bool(set(top.tolist()) & set(scored.asked)) for top, scored in zip(best, pictures, strict=True)])


def ranks(pictures: Sequence[ScoredPicture]) -> NDArray[np.int64]:
    """Per query, how many nouns that the picture does not show suit it better than the one asked for (Q,).

    In a picture of one thing this is the usual rank; in a picture of two, each can come first.
    """
    found = []
    for scored in pictures:
        strange = np.delete(scored.classes, scored.asked)
        found += [int((strange > scored.classes[noun]).sum()) for noun in scored.asked]
    return np.array(found, np.int64)
