"""Dense and prompted methods behind the same front door: pictures to scenes that hold their evidence, and scenes to answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from engine import dense
from engine.boxes import Boxes
from engine.dense import Words
from engine.manifest import DENSE, Manifest, fingerprint
from engine.methods import AFFINITY, Method
from engine.outline import shrink
from engine.saliency import normalise
from engine.spec import Spec
from runtime.backends.session import Session
from runtime.encoder import StreamProgress
from runtime.errors import SceneError
from runtime.evidence import Evidence, Looker
from runtime.localization import Localization, cut_boxes
from runtime.pictures import Pixels
from runtime.query import Query
from runtime.rivals import Rivals, refuse_alone, usual_rivals
from runtime.scene import Floats, Scene
from runtime.text import TextEncoder
from runtime.word_graph import WordGraph

PUBLISHED_SCALE = 100.0  # the logit scale of the models that `kappa` was chosen for
OpenSession = Callable[[str], Session]  # a graph of the bundle by its name


@dataclass(frozen=True)
class Asking:
    """How a Localizer was told to look and ask."""

    templates: tuple[str, ...]
    background: Sequence[str] | None  # nouns that compete; none given: all that a small model knows, else the usual ones
    windows: int
    affinity: bool


@dataclass(frozen=True)
class DenseEncoder:
    """Looks at pictures for one method, a pass each. Holds no picture; safe to share between threads."""

    manifest: Manifest
    method: Method
    looker: Looker
    spec: Spec

    def encode(
        self,
        pictures: Iterable[Pixels],
        progress: StreamProgress | None = None,
        expected: int | None = None,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> Iterator[Scene]:
        """Turn pictures into scenes, in order; one that fails ends this, or is left out and `on_failure` is told."""
        source, done = iter(pictures), 0
        while True:
            try:
                scene = self.scene(next(source))
            except StopIteration:
                return
            except Exception as error:
                if on_failure is None:
                    raise
                on_failure(error)
                continue
            done += 1
            if progress is not None:
                progress(done, None if expected is None else max(done, expected))
            yield scene

    def scene(self, picture: Pixels) -> Scene:
        """One picture, looked at."""
        looked = self.looker.look(picture, self.spec.geometry)
        arrays, info = looked.evidence.arrays, self.looker.info
        height, width = arrays["features"].shape[1:3] if "features" in arrays else (info.height, info.width)
        dim = self.manifest.dim
        return Scene(
            maps=np.zeros((0, height, width), np.float32),
            embeddings=np.zeros((0, dim), np.float32),
            base=np.zeros(dim, np.float32),
            embedding=looked.embedding,
            frame=looked.frame,
            live=np.zeros(0, np.bool_),
            known=np.zeros(0, np.bool_),
            passes=looked.passes,
            preset="exact",
            precision=self.manifest.precision,
            backbone=self.manifest.backbone,
            fingerprint=fingerprint(self.manifest),
            picture=picture,
            guide=shrink(looked.pixels, (height, width)),
            blank=self.spec.base,
            evidence={self.method.name: looked.evidence},
        )


@dataclass(frozen=True)
class Further:
    """Gathers the evidence of a further method, as which patches belong together: a pass more for each picture."""

    looker: Looker
    spec: Spec

    def add(self, scene: Scene) -> Scene:
        """The scene with that evidence, unless it has it."""
        tied = scene.affinity is not None and self.looker.method == AFFINITY  # which other methods gather too
        if tied or self.looker.method in scene.evidence or scene.picture is None:
            return scene
        looked = self.looker.look(scene.picture, self.spec.geometry)
        evidence = {**scene.evidence, self.looker.method: looked.evidence}
        return replace(scene, evidence=evidence, passes=scene.passes + (looked.passes if len(scene.maps) == 0 else 0))


def spread_by_affinity(scene: Scene, maps: Floats) -> Floats:
    """Maps `(Q, h, w)` spread to the patches that belong together."""
    if scene.affinity is None:
        raise SceneError("this scene does not say which patches belong together; encode the picture with `affinity=True`")
    return dense.spread(maps.reshape(len(maps), -1), scene.affinity.astype(np.float32)).reshape(maps.shape)


class DenseAnswerer:
    """Asks evidence. Holds no scene; safe to share between threads."""

    def __init__(
        self,
        method: Method,
        text: TextEncoder,
        spec: Spec,
        background: Sequence[str],
        asking: Asking,
        logit_scale: float,
        prompted: WordGraph | None = None,
    ) -> None:
        """Let the nouns of `background` compete with what is asked; `prompted` is the graph that words go into, if they do."""
        self.method, self.text, self.spec, self.templates = method, text, spec, asking.templates
        self.rivals = Rivals(text, asking.templates, tuple(background))
        self.prompted, self.affinity = prompted, asking.affinity
        self.logit_scale = logit_scale
        self.kappa = method.kappa * logit_scale / PUBLISHED_SCALE

    def answer(self, scene: Scene, queries: Sequence[Query], texts: Floats) -> list[Localization]:
        """Answer queries, whose unit embeddings are `texts` `(Q, D)`; they compete with each other."""
        maps = self.maps(scene.evidence[self.method.name], scene, self.words(queries, texts))
        if self.affinity:
            maps = spread_by_affinity(scene, maps)
        outline = scene.outline_for(self.spec)
        found = []
        for query, text, plane in zip(queries, texts, maps, strict=True):
            saliency = normalise(plane) if outline is None else outline.follow(normalise(plane))
            found.append(self.localization(scene, query, text, plane, saliency))
        return found

    def maps(self, evidence: Evidence, scene: Scene, words: Words) -> Floats:
        """The maps `(Q, h, w)` of questions, before they are brought to [0, 1]."""
        if self.prompted is not None:
            return self.prompted_maps(self.prompted, evidence, words)
        kept = evidence.arrays["features"]
        features = kept.reshape(len(kept), -1, kept.shape[-1]).astype(np.float32)
        alone = len(words.asked) + len(words.others) < 2
        ask, kappa = self.method.ask, self.kappa
        if ask == "relu":
            maps = dense.positive(features, words)
        elif ask == "surgery":
            maps = dense.surgery(features, words, scene.embedding)
        elif alone:
            maps = dense.contrast(features, words)
        elif ask == "layers":
            maps = dense.layers(features, words, kappa, evidence.arrays["attention"].astype(np.float32))
        else:
            maps = dense.shares(features, words, kappa)
        return np.asarray(maps.reshape(len(words.asked), *kept.shape[1:3]), np.float32)

    def prompted_maps(self, graph: WordGraph, evidence: Evidence, words: Words) -> Floats:
        """The maps `(Q, h, w)` of questions whose words go into a graph, several at a time."""
        texts = words.asked * np.float32(self.logit_scale)  # Grad-CAM++ is not alike for a score and for multiples of it
        if self.method.ask == "against":
            refuse_alone(f"method `{self.method.name}`", len(words.asked) + len(words.others))
            texts = dense.against(words, evidence.arrays["patches"], self.kappa)
        return graph.run(evidence.arrays["stream"], texts, "maps")

    @cached_property
    def nothing(self) -> Floats:
        """The embedding `(D,)` of no words at all, in the sentences that the method is asked in."""
        return self.text.nothing(self.templates)

    def words(self, queries: Sequence[Query], texts: Floats) -> Words:
        """What is asked, and what competes with it: of the background, all nouns that no question names."""
        return Words(texts, self.rivals.to(queries, texts), self.nothing)

    def localization(self, scene: Scene, query: Query, text: Floats, plane: Floats, saliency: Floats) -> Localization:
        """Cut the boxes of one query out of its saliency in [0, 1]; `plane` is the map before."""
        # What CLIP Surgery takes away from every word leaves no 0 that would tell present from absent.
        margin = float(plane.max() - (plane.mean() if self.method.ask == "surgery" else 0))
        present = margin > 0
        boxes = cut_boxes(saliency, scene.frame, self.spec)[0] if present else Boxes.none()
        return Localization(
            query=query.label,
            xyxy=boxes.xyxy,
            scores=boxes.scores,
            present=present,
            map=saliency,
            frame=scene.frame,
            spec=self.spec,
            kept=0,
            maps=0,
            margin=margin,
            similarity=float(scene.embedding @ text),
            preset=scene.preset,
            passes=scene.passes,
            picture=scene.picture,
            method=self.method.name,
        )


@dataclass(frozen=True)
class Dense:
    """What a Localizer has for a method that takes no masked passes."""

    encoder: DenseEncoder
    answerer: DenseAnswerer


def open_dense(
    method: Method, manifest: Manifest, session: OpenSession, text: TextEncoder, spec: Spec, asking: Asking
) -> Dense | None:
    """What looks at pictures and answers by a method, unless it takes masked passes."""
    if method.family == "masked":
        return None
    looker = Looker(manifest, method.name, session(f"{DENSE}{method.name}"), asking.windows)
    nouns = asking.background
    if nouns is None:
        nouns = usual_rivals(manifest) if method.background else ()
    prompted = WordGraph.of(method, manifest, session)
    answerer = DenseAnswerer(method, text, spec, nouns, asking, manifest.logit_scale, prompted)
    return Dense(DenseEncoder(manifest, method, looker, spec), answerer)


def open_ties(manifest: Manifest, session: OpenSession, spec: Spec) -> Further:
    """What tells which patches belong together."""
    return Further(Looker(manifest, AFFINITY, session(f"{DENSE}{AFFINITY}")), spec)
