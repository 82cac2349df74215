"""Further passes for a query: the maps that seem to matter most to it are run, and all others are predicted anew."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.anchors import Kinship, predict
from engine.masks import live
from runtime.answers import Answerer
from runtime.effort import Effort
from runtime.packing import Progress
from runtime.passes import SceneEncoder
from runtime.preprocess import place
from runtime.scene import Floats, Scene

SURE = 1e-2  # expected difference of the saliency below which an answer needs no further passes

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Refiner:
    """Spends a query's further passes. Holds no scene; safe to share between threads."""

    encoder: SceneEncoder
    answerer: Answerer
    effort: Effort

    def needed(self, scene: Scene) -> bool:
        """Whether a scene has maps to run and this Localizer has passes to spend on them."""
        spend = self.effort.refine > 0 or self.effort.auto
        return spend and scene.preset == "fast" and scene.picture is not None and not bool(scene.known.all())

    def refine(self, scene: Scene, texts: Floats, progress: Progress | None = None) -> Scene:
        """Run the maps that matter most to texts `(Q, D)`; gives a scene that knows more."""
        if not self.needed(scene):
            return scene
        kinship = Kinship.of(scene.maps, live(scene.maps))
        batch, spent = self.encoder.manifest.batch, np.zeros(len(texts), dtype=int)
        most = scene.live if self.effort.auto else self.effort.refine
        while True:
            open_texts = [row for row in range(len(texts)) if spent[row] < most and not self.sure(scene, texts[row])]
            size = min(batch, max((most - int(spent[row]) for row in open_texts), default=0))
            chosen = self.promising(scene, texts[open_texts], size) if size else []
            if not chosen:
                return scene
            scene = self.run(scene, kinship, chosen)
            spent[open_texts] += size
            if progress is not None:
                left = 0 if self.effort.auto else int(np.maximum(most - spent[open_texts], 0).sum())
                progress(scene.passes, min(scene.live, scene.passes + left))

    def sure(self, scene: Scene, text: Floats) -> bool:
        """Whether an answer may be trusted as it is: only asked when passes are spent as needed."""
        if not self.effort.auto:
            return False
        error = self.answerer.error(scene, text)
        return error is not None and error <= SURE

    def promising(self, scene: Scene, texts: Floats, count: int) -> list[int]:
        """Up to `count` unknown maps per text, those first that would weigh most in its answer.

        A map's share in the sum is softmax(score) times what it lights up; its logarithm ranks alike without a softmax.
        """
        scores = texts @ (scene.embeddings - scene.base).T / self.answerer.switches["temperature"]
        lit = np.log(np.abs(scene.maps).sum(axis=(1, 2)) + np.float32(1e-12))
        ranks = np.where(scene.known, -np.inf, scores + lit)
        order = np.argsort(-ranks, axis=1, kind="stable")[:, : min(count, int((~scene.known).sum()))]
        return list(dict.fromkeys(order.T.ravel().tolist()))  # every text's best first, each map once

    def run(self, scene: Scene, kinship: Kinship, chosen: list[int]) -> Scene:
        """Run maps of a scene's picture and predict the others anew."""
        info, picture = self.encoder.manifest.image, scene.picture
        if picture is None:
            raise ValueError("a scene without its picture cannot be refined")
        pixels, _ = place(picture, info.side, scene.frame.geometry, info.resample, info.mean)
        embeddings, known = scene.embeddings.copy(), scene.known.copy()
        embeddings[chosen] = self.encoder.masked_embeddings(pixels, scene.maps[chosen])
        known[chosen] = True
        alive = live(scene.maps)
        told = predict(kinship, known & alive, embeddings)
        return replace(
            scene, embeddings=np.where(alive[:, None], told, embeddings), known=known, passes=scene.passes + len(chosen)
        )
