"""An opened method: how pictures become scenes, and scenes answers, on one open model and under one spec."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engine.methods import Method
from engine.spec import Spec
from runtime.dense import Asking, open_dense, open_ties
from runtime.devices import CARDS
from runtime.encoder import Progress, SceneEncoder, StreamProgress
from runtime.findings import Findings
from runtime.fusion import open_fusion
from runtime.localization import Localization
from runtime.opened import OpenModel
from runtime.pictures import Pixels
from runtime.presets import PassPlan, plan_passes
from runtime.query import Query
from runtime.refine import Refiner
from runtime.scene import Floats, Scene
from runtime.score_cam import chosen_plan, open_masked, open_refiner
from runtime.text import TextEncoder
from runtime.watch import Watcher

OnFailure = Callable[[Exception], None]


class OpenMethod:
    """Encodes and answers. Holds no picture; safe to share between threads."""

    def __init__(
        self,
        model: OpenModel,
        method: Method,
        spec: Spec,
        plan: PassPlan,
        text: TextEncoder,
        asking: Asking,
        *,
        scenes_only: bool,
    ) -> None:
        """Take the passes of `plan`; with `scenes_only` none can be run."""
        manifest, image_half, first = model.manifest, model.image_half(), method.first

        def encoder(passes: PassPlan) -> SceneEncoder:
            overlap = model.backend.device in CARDS
            return SceneEncoder(manifest, image_half, spec, passes, precision=model.precision, overlap=overlap)

        self.plan = chosen_plan(first, plan, manifest)
        self.encoder = encoder(self.plan)
        self.answerer = open_masked(first, manifest, model.session, spec, text, asking)
        self.refiner = open_refiner(Refiner(self.encoder, self.answerer, self.plan, runs=not scenes_only))
        growing = self.plan if self.plan.preset == "fast" else plan_passes(manifest, "fast", None, None)
        self.watcher = Watcher(Refiner(encoder(growing), self.answerer, growing, runs=not scenes_only), self.plan)
        self.dense = open_dense(first, manifest, model.session, text, spec, asking)
        self.ties = open_ties(manifest, model.session, spec) if asking.affinity else None
        self.fusion = open_fusion(method, manifest, model.session, text, spec, asking)

    def encode(
        self,
        pictures: Iterator[Pixels],
        progress: StreamProgress | None,
        expected: int | None,
        on_failure: OnFailure | None = None,
    ) -> Iterator[Scene]:
        """Turn pictures into scenes that hold all that the method asks."""
        encoder = self.encoder if self.dense is None else self.dense.encoder
        scenes = encoder.encode(pictures, progress, expected, on_failure)
        for further in (self.ties, None if self.fusion is None else self.fusion.further):
            scenes = scenes if further is None else map(further.add, scenes)
        return scenes

    def answer(
        self, scene: Scene, queries: Sequence[Query], texts: Floats, progress: Progress | None = None
    ) -> list[Localization]:
        """Answer queries, whose unit embeddings are `texts` `(Q, D)`, after the further passes that the plan has for them."""
        return self.ask(scene, queries, texts, None if self.dense else self.refiner.refine(scene, texts, progress))

    def ask(self, scene: Scene, queries: Sequence[Query], texts: Floats, findings: Findings | None = None) -> list[Localization]:
        """Answer queries with what is known, without any pass."""
        if self.dense is not None:
            found = self.dense.answerer.answer(scene, queries, texts)
        else:
            found = self.answerer.answer(scene, queries, texts, findings)
        return found if self.fusion is None else self.fusion.answer(scene, queries, texts, found)
