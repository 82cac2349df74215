"""The Score-CAM of two packages, as they are: the same model, the same layer, their own masks and sums."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.compare.job import Agreement, Facts, Job, Reference, Turn, UnavailableError, Whole
from bench.compare.scores import compare
from bench.compare.torch_ways import Model, Tower, versions
from engine.boxes import find_boxes
from engine.saliency import normalise, to_picture


class Embedder(nn.Module):
    """CLIP's image half as a plain module: normalised pictures to unit embeddings; counts what runs through."""

    def __init__(self, clip: Tower) -> None:
        super().__init__()
        self.visual = clip.visual
        self.seen = 0

    def forward(self, pictures: Tensor) -> Tensor:
        """Embed."""
        self.seen += len(pictures)
        return F.normalize(self.visual(pictures), dim=-1)


class Package:
    """What both packages need: the module, its last layer, and a target that remembers what it scored."""

    name = ""

    def __init__(self, job: Job, reference: Reference) -> None:
        self.job, self.reference = job, reference
        self.version = version(self.name)  # raises PackageNotFoundError, a ModuleNotFoundError that names the package
        self.model = Model(job)
        if not self.model.convolutional:
            raise UnavailableError("reads the maps of one layer; a vision transformer's are components of several blocks")
        self.embedder = Embedder(self.model.clip).eval()
        self.layer = self.model.clip.visual.layer4[-1]
        self.x = self.model.square()[0][None]
        self.scored: list[float] = []

    def facts(self) -> Facts:
        """Both run every map, constant ones too."""
        return Facts(len(self.reference.maps), "cpu", {**versions(), self.name: self.version})

    def target(self, embedding: Tensor) -> Tensor:
        """The cosine with the query."""
        score = embedding @ self.model.text
        self.scored.append(float(score))
        return score

    def cam(self, choose: Callable[[Tensor], Tensor]) -> np.ndarray[Any, Any]:
        """The package's heat map (h, w) or (R, R) when it is shown only some of the layer's maps."""
        raise NotImplementedError

    def turn(self) -> Turn:
        """Every picture that runs through the encoder counts as a pass, the whole one as well."""
        self.cam(lambda maps: maps[:, : self.job.batch])
        count = min(self.job.passes, len(self.reference.maps))
        self.embedder.seen = 0
        started = time.perf_counter()
        self.cam(lambda maps: maps[:, :count])
        return Turn(self.embedder.seen, time.perf_counter() - started)

    def whole(self) -> Whole:
        """One picture with every map, boxed as ours is."""
        self.embedder.seen = 0
        started = time.perf_counter()
        x, frame = self.model.square()
        self.x = x[None]
        heat = np.asarray(self.cam(lambda maps: maps), np.float32)
        boxes = find_boxes(to_picture(normalise(np.nan_to_num(heat)), frame, "clamp"), self.model.spec)
        return Whole(time.perf_counter() - started, self.embedder.seen, boxes.xyxy)

    def sampled(self) -> np.ndarray[Any, Any]:
        """Scores of the sample relative to the base; the last ones that the package asked for."""
        sample = torch.from_numpy(self.reference.sample)
        self.scored.clear()
        self.cam(lambda maps: maps[:, sample])
        return np.array(self.scored[-len(sample) :]) - self.reference.base_score


class GradCamPackage(Package):
    """`grad-cam`: masks like the published ones, all held at once; softmax over the plain scores of all maps."""

    name = "grad-cam"

    def check(self) -> Agreement:
        """Its masks are the published ones."""
        return compare(self.sampled(), self.reference.scores, "no base picture: softmax over the plain scores of every map")

    def cam(self, choose: Callable[[Tensor], Tensor]) -> np.ndarray[Any, Any]:
        """Its progress bar cannot be turned off, so it draws into nowhere."""
        from pytorch_grad_cam import ScoreCAM

        with contextlib.redirect_stderr(io.StringIO()), ScoreCAM(self.embedder, [self.layer], reshape_transform=choose) as cam:
            heat: np.ndarray[Any, Any] = cam(self.x, [self.target])[0]
            return heat


class TorchCamPackage(Package):
    """`torchcam`: masks scaled before they are enlarged, aligned by centres; the whole picture is the baseline."""

    name = "torchcam"

    def check(self) -> Agreement:
        """Held against the oracle with the same masks."""
        note = "masks scaled first, aligned by centres; the baseline is the picture itself: softmax over every map"
        return compare(self.sampled(), self.reference.other_scores, note)

    def cam(self, choose: Callable[[Tensor], Tensor]) -> np.ndarray[Any, Any]:
        """As its manual says: one pass with hooks, then the extractor."""
        from torchcam.methods import ScoreCAM

        with ScoreCAM(self.embedder, self.layer, batch_size=self.job.batch, reshape_transform=choose) as cam:
            with torch.inference_mode():
                self.embedder(self.x)
            heat: np.ndarray[Any, Any] = cam(targets=self.target)[0][0].numpy()
            return heat
