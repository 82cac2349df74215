"""Further passes for a query: the maps that seem to matter most to it are run, and what they tell of the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from engine.prediction import Indices, choose_telling
from runtime.answers import Answerer
from runtime.encoder import Progress, SceneEncoder
from runtime.findings import Findings
from runtime.presets import PassPlan
from runtime.scene import Floats, Scene

FAINT = 1e-9  # the weight that every map has: those that weigh nothing are run last
SURE = 1e-2  # expected difference of the saliency below which an answer needs no further passes


@dataclass(frozen=True)
class Refiner:
    """Spends a query's further passes. Holds no scene; safe to share between threads."""

    encoder: SceneEncoder
    answerer: Answerer
    plan: PassPlan
    runs: bool = True  # False: without the image half, scenes stay as they are

    def refine(self, scene: Scene, texts: Floats, progress: Progress | None = None) -> Findings | None:
        """Run the maps that matter most to texts `(Q, D)`; None where there is nothing to run."""
        most = int(scene.live.sum()) if self.plan.auto else self.plan.refine
        findings = None
        for better in self.better(scene, texts, most, SURE if self.plan.auto else None, progress=progress):
            findings = better
        if progress is not None and self.runs and scene.preset == "fast":
            # Fewer than were counted: queries share maps, or are sure early.
            passes = scene.passes if findings is None else findings.passes
            progress(passes, passes)
        return findings

    def better(
        self,
        scene: Scene,
        texts: Floats,
        most: int,
        sure: float | None = None,
        *,
        growth: int = 1,
        progress: Progress | None = None,
    ) -> Iterator[Findings]:
        """Know more and more of a scene: each text spends up to `most` passes, or fewer where its error falls to `sure`.

        A step runs a 64th of all maps, in whole batches, or with `growth` so many times as many as the one before, up to a
        sixteenth: what a step tells is worth more than what it costs the processor to ask.
        """
        if not self.runs or scene.preset != "fast" or scene.picture is None or scene.known.all():
            return
        findings, spent = Findings.of(scene), np.zeros(len(texts), dtype=int)
        live, batch = int(scene.live.sum()), self.encoder.batch
        step, largest = (batch * max(1, live // share // batch) for share in (64, 16))
        pixels, _ = self.encoder.place(scene.picture, scene.frame.geometry)
        while not findings.complete:
            unsure = [row for row in range(len(texts)) if spent[row] < most and not self.sure(findings, texts[row], sure)]
            size = min(step, max((most - int(spent[row]) for row in unsure), default=0))
            if not size:
                return
            chosen = self.choose(findings, texts[unsure], size)
            findings = findings.add(chosen, self.encoder.run_maps(pixels, scene.maps[chosen]))
            spent[unsure] += size
            if progress is not None:
                left = live if sure is not None else int(np.maximum(most - spent[unsure], 0).sum())
                progress(findings.passes, min(live, findings.passes + left))
            yield findings
            step = min(step * growth, largest)

    def sure(self, findings: Findings, text: Floats, sure: float | None) -> bool:
        """Whether an answer may be trusted as it is: only asked when passes are spent as needed."""
        if sure is None:
            return False
        error = self.answerer.error(findings, text)
        return error is not None and error <= sure

    def choose(self, findings: Findings, texts: Floats, count: int) -> Indices:
        """The maps to run next, up to `count` per text; a map that several texts ask for is run once."""
        maps, known = findings.scene.maps, findings.known
        lit = np.log(np.abs(maps).sum(axis=(1, 2)) + np.float32(1e-12))
        # A map's share in an answer's sum is softmax(score) times what it lights up: its logarithm, but for what all share.
        shares = findings.scores(texts) / np.float32(self.answerer.options.temperature) + lit
        shares -= np.where(known, -np.inf, shares).max(axis=1, keepdims=True)
        # Shares are guessed themselves: by their roots the small ones count for more.
        weights = np.where(known, 0, np.exp(np.minimum(shares, 0) / 2) + FAINT).astype(np.float32)
        chosen = [choose_telling(findings.regression, row, count) for row in weights]
        return np.unique(np.concatenate(chosen))
