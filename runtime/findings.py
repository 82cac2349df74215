"""What the passes of a picture tell of the maps that were not run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.prediction import Indices, Regression
from runtime.scene import Flags, Floats, Scene


@dataclass(frozen=True, eq=False)
class Findings:
    """A scene, and what was run of it since.

    Scores of a few texts are predicted straight away; the embeddings of all maps, which any later question needs, only when
    a scene is made of this.
    """

    scene: Scene
    regression: Regression
    runs: Floats  # (p, D): embeddings of the maps that were run, in the regression's order

    @classmethod
    def of(cls, scene: Scene) -> Findings:
        """What a scene knows by itself."""
        return cls(scene, scene.regression, scene.embeddings[scene.regression.rows])

    def add(self, rows: Indices, embeddings: Floats) -> Findings:
        """Further maps were run."""
        return Findings(self.scene, self.regression.grow(rows), np.concatenate([self.runs, embeddings]))

    @property
    def passes(self) -> int:
        """Passes so far; the one that a guess takes counts where there is no other."""
        return max(1, len(self.runs))

    @property
    def known(self) -> Flags:
        """Which maps `(K,)` were run, or need not be."""
        known = ~self.scene.live
        known[self.regression.rows] = True
        return known

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be predicted."""
        return len(self.runs) == int(self.scene.live.sum())

    def scores(self, texts: Floats) -> Floats:
        """Scores `(Q, K)` for texts `(Q, D)`, relative to the base: as they were run, or predicted."""
        guessed, found = self.guessed(texts), self.found(texts)
        scores = guessed + self.regression.predict(found - guessed[self.regression.rows])
        scores[self.regression.rows] = found
        scores[~self.scene.live] = 0
        return np.ascontiguousarray(scores.T)

    def errors(self, texts: Floats) -> Floats:
        """Expected error `(Q, K)` of every score, 0 where the map was run."""
        errors = self.regression.errors(self.found(texts) - self.guessed(texts)[self.regression.rows])
        errors[~self.scene.live] = 0
        return np.ascontiguousarray(errors.T)

    def found(self, texts: Floats) -> Floats:
        """Scores `(p, Q)` of the maps that were run."""
        return np.asarray((self.runs - self.scene.base) @ texts.T, dtype=np.float32)

    def guessed(self, texts: Floats) -> Floats:
        """Scores `(K, Q)` by the guess that the scene began with, or nothing at all."""
        scene = self.scene
        if scene.guess is None:
            return np.zeros((len(scene.maps), len(texts)), dtype=np.float32)
        return np.asarray(scene.guess @ texts.T - scene.base @ texts.T, dtype=np.float32)

    def to_scene(self) -> Scene:
        """The scene that knows all this: every embedding predicted, for any question."""
        scene, rows = self.scene, self.regression.rows
        if scene.guess is None:
            embeddings = self.regression.predict(self.runs)
        else:
            embeddings = self.regression.predict(self.runs - scene.guess[rows])
            embeddings += scene.guess
        embeddings[rows] = self.runs
        embeddings[~scene.live] = scene.base
        learnt = scene.learn(embeddings, self.known, self.passes)
        learnt.__dict__["regression"] = self.regression  # what `cached_property` would work out again
        return learnt
