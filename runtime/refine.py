"""Further passes for a query: the maps that seem to matter most to it are run, and all others are predicted anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.prediction import predict
from runtime.answers import Answerer
from runtime.encoder import Progress, SceneEncoder
from runtime.presets import PassPlan
from runtime.scene import Floats, Scene

SURE = 1e-2  # expected difference of the saliency below which an answer needs no further passes


@dataclass(frozen=True)
class Refiner:
    """Spends a query's further passes. Holds no scene; safe to share between threads."""

    encoder: SceneEncoder
    answerer: Answerer
    plan: PassPlan
    runs: bool = True  # False: without the image half, scenes stay as they are

    def refine(self, scene: Scene, texts: Floats, progress: Progress | None = None) -> Scene:
        """Run the maps that matter most to texts `(Q, D)`; gives a scene that knows more."""
        most = int(scene.live.sum()) if self.plan.auto else self.plan.refine
        for better in self.better(scene, texts, most, SURE if self.plan.auto else None, progress=progress):
            scene = better
        if progress is not None and self.runs:  # fewer than were counted: queries share maps, or are sure early
            progress(scene.passes, scene.passes)
        return scene

    def better(
        self,
        scene: Scene,
        texts: Floats,
        most: int,
        sure: float | None = None,
        *,
        growth: int = 1,
        progress: Progress | None = None,
    ) -> Iterator[Scene]:
        """Scenes that know more and more: each text spends up to `most` passes, or fewer where its error falls to `sure`.

        The steps are of one batch, or with `growth` each so many times as large as the one before, up to a sixteenth of all.
        """
        if not self.runs or scene.preset != "fast" or scene.picture is None:
            return
        live, spent = int(scene.live.sum()), np.zeros(len(texts), dtype=int)
        batch = step = self.encoder.manifest.batch
        largest = max(batch, live // 16 // batch * batch)
        while not scene.known.all():
            unsure = [row for row in range(len(texts)) if spent[row] < most and not self.sure(scene, texts[row], sure)]
            size = min(step, max((most - int(spent[row]) for row in unsure), default=0))
            if not size:
                return
            scene = self.run(scene, self.most_promising(scene, texts[unsure], size))
            spent[unsure] += size
            if progress is not None:
                left = live if sure is not None else int(np.maximum(most - spent[unsure], 0).sum())
                progress(scene.passes, min(live, scene.passes + left))
            yield scene
            step = min(step * growth, largest)

    def sure(self, scene: Scene, text: Floats, sure: float | None) -> bool:
        """Whether an answer may be trusted as it is: only asked when passes are spent as needed."""
        if sure is None:
            return False
        error = self.answerer.error(scene, text)
        return error is not None and error <= sure

    def most_promising(self, scene: Scene, texts: Floats, count: int) -> list[int]:
        """Up to `count` unknown maps per text, those first that would weigh most in its answer.

        A map's share in the sum is softmax(score) times what it lights up; its logarithm ranks alike without a softmax.
        """
        scores = texts @ (scene.embeddings - scene.base).T / np.float32(self.answerer.options.temperature)
        lit = np.log(np.abs(scene.maps).sum(axis=(1, 2)) + np.float32(1e-12))
        ranks = np.where(scene.known, -np.inf, scores + lit)
        order = np.argsort(-ranks, axis=1, kind="stable")[:, : min(count, int((~scene.known).sum()))]
        return list(dict.fromkeys(order.T.ravel().tolist()))  # every text's best first, each map once

    def run(self, scene: Scene, chosen: list[int]) -> Scene:
        """Run maps of a scene's picture and predict the others anew."""
        if scene.picture is None:
            raise ValueError("a scene without its picture cannot be refined")
        pixels, _ = self.encoder.place(scene.picture, scene.frame.geometry)
        embeddings, known = scene.embeddings.copy(), scene.known.copy()
        embeddings[chosen] = self.encoder.run_maps(pixels, scene.maps[chosen])
        known[chosen] = True
        predicted = predict(scene.kernel, known & scene.live, embeddings)
        embeddings[scene.live] = predicted[scene.live]
        return scene.learn(embeddings, known, scene.passes + len(chosen))
