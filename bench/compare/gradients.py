"""Ways that follow the gradient of the score: Grad-CAM, and gScoreCAM's choice of 300 maps. Written from the papers."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.compare.job import Agreement, Facts, Job, Reference, Turn, UnavailableError, Whole
from bench.compare.scores import compare
from bench.compare.torch_ways import Model, Torch, versions
from engine.boxes import find_boxes
from engine.saliency import normalise, to_picture

CHOSEN = 300  # maps that gScoreCAM keeps, whatever the backbone
STEP = 1e-2  # of the finite difference that the gradient is checked with


class Gradients:
    """The gradient of the query's cosine on the maps of a ResNet."""

    def __init__(self, model: Model) -> None:
        if not model.convolutional:
            raise UnavailableError("follows the gradient at the last layer of a ResNet; this backbone has none")
        self.model = model

    def at(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (K, h, w) of a normalised picture and the gradient of its score on them."""
        taken: list[Tensor] = []
        handle = self.model.clip.visual.layer4[-1].register_forward_hook(lambda _module, _inputs, out: taken.append(out))
        try:
            score = F.normalize(self.model.clip.encode_image(x[None]), dim=-1)[0] @ self.model.text
        finally:
            handle.remove()
        (gradient,) = torch.autograd.grad(score, taken[0])
        return taken[0].detach()[0], gradient[0]

    def check(self, x: Tensor) -> Agreement:
        """Hold the gradient against a finite difference along the maps themselves."""
        maps, gradient = self.at(x)
        wanted = (self.score(maps * (1 + STEP)) - self.score(maps * (1 - STEP))) / (2 * STEP)
        return compare(np.array([float((gradient * maps).sum())]), np.array([wanted]), "its gradient, by finite difference")

    @torch.no_grad()
    def score(self, maps: Tensor) -> float:
        """The score of a picture with these maps (K, h, w), by the attention pool alone."""
        return float(F.normalize(self.model.clip.visual.attnpool(maps[None]), dim=-1)[0] @ self.model.text)


class GradCam:
    """Maps weighed by their mean gradient: one pass forward, one back, for each query anew."""

    def __init__(self, job: Job, reference: Reference) -> None:
        self.model = Model(job)
        self.gradients = Gradients(self.model)

    def facts(self) -> Facts:
        """A turn is a whole picture."""
        return Facts(0, "cpu", versions())

    def check(self) -> Agreement:
        """There are no scores of masked pictures; what can be checked is the gradient."""
        return self.gradients.check(self.model.square()[0])

    def turn(self) -> Turn:
        """One whole picture, after another one."""
        self.whole()
        return Turn(0, 0.0, once=self.whole().seconds)

    def whole(self) -> Whole:
        """From the picture to the boxes."""
        started = time.perf_counter()
        x, frame = self.model.square()
        maps, gradient = self.gradients.at(x)
        grid = (gradient.mean(dim=(1, 2), keepdim=True) * maps).sum(dim=0).relu()
        boxes = find_boxes(to_picture(normalise(grid.numpy()), frame, self.model.spec.resize), self.model.spec)
        return Whole(time.perf_counter() - started, 1, boxes.xyxy)


class GScoreCam(Torch):
    """The published way on the maps of largest mean gradient; chosen for each query anew, so nothing can be asked again."""

    def __init__(self, job: Job, reference: Reference) -> None:
        super().__init__(job, reference, channels_last=True)
        self.gradients = Gradients(self.model)

    def facts(self) -> Facts:
        """Fewer maps than the backbone has, where it has more."""
        return Facts(min(CHOSEN, len(self.maps)), "cpu", versions())

    def turn(self) -> Turn:
        """Passes as any other way in PyTorch, and the choice."""
        self.choose(self.x)
        started = time.perf_counter()
        self.choose(self.x)
        once = time.perf_counter() - started
        turn = super().turn()
        return Turn(turn.passes, turn.seconds, once)

    def choose(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """All maps (K, h, w), and which of them are to be tried."""
        maps, gradient = self.gradients.at(x)
        means = gradient.mean(dim=(1, 2))
        return maps, means.topk(min(CHOSEN, len(means))).indices

    def whole(self) -> Whole:
        """One picture; maps that were not chosen count as below the base."""
        started = time.perf_counter()
        self.x, frame = self.model.square()
        maps, which = self.choose(self.x)
        scores = torch.full((len(maps),), -1.0)
        scores[which] = self.scores(maps[which])
        xyxy, grid = self.model.answer(maps, scores, frame)
        return Whole(time.perf_counter() - started, len(which), xyxy, grid)
