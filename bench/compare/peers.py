"""The field: the Score-CAM of two packages as they are, and two methods that follow the gradient, written from the papers."""

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

from bench.compare.pytorch import PyTorch, TorchContender, TorchModel, Tower
from bench.compare.task import (
    Agreement,
    Reference,
    Task,
    Turn,
    UnavailableError,
    WholePicture,
    compare_scores,
    picture_turn,
)
from engine.boxes import find_boxes
from engine.saliency import normalise, to_picture

CHOSEN = 300  # maps that gScoreCAM keeps, whatever the backbone
STEP = 1e-2  # of the finite difference that the gradient is checked with


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


class Package(TorchContender):
    """What both packages need: the module, its last layer, and a target that remembers what it scored."""

    name, note = "", ""

    def __init__(self, task: Task, reference: Reference) -> None:
        found = version(self.name)  # raises PackageNotFoundError, a ModuleNotFoundError that names the package
        super().__init__(task, reference)
        require_resnet(self.model)
        self.versions[self.name] = found
        self.embedder = Embedder(self.model.clip).eval()
        self.layer = self.model.clip.visual.layer4[-1]
        self.x = self.model.square()[0]
        self.scored: list[float] = []

    def target(self, embedding: Tensor) -> Tensor:
        """The cosine with the query."""
        score = embedding @ self.model.text
        self.scored.append(float(score))
        return score

    def cam(self, choose: Callable[[Tensor], Tensor]) -> np.ndarray[Any, Any]:
        """The package's heat map (h, w) or (R, R) when it is shown only some of the layer's maps."""
        raise NotImplementedError

    def wanted(self) -> np.ndarray[Any, Any]:
        """The oracle's scores with the package's masks."""
        return self.reference.scores

    def check(self) -> Agreement:
        """Scores of the sample relative to the base; the last ones that the package asked for."""
        sample = torch.from_numpy(self.reference.sample)
        self.scored.clear()
        self.cam(lambda maps: maps[:, sample])
        found = np.array(self.scored[-len(sample) :]) - self.reference.base_score
        return compare_scores(found, self.wanted(), self.note)

    def turn(self) -> Turn:
        """Every picture that runs through the encoder counts as a pass, the whole one as well."""
        if not self.task.passes:
            return picture_turn(self.whole)
        self.cam(lambda maps: maps[:, : self.task.batch])
        self.embedder.seen = 0
        started = time.perf_counter()
        self.cam(lambda maps: maps[:, : self.task.passes])
        return Turn(self.embedder.seen, time.perf_counter() - started)

    def whole(self) -> WholePicture:
        """One picture with every map, boxed as ours is."""
        self.embedder.seen = 0
        started = time.perf_counter()
        self.x, frame = self.model.square()
        heat = np.asarray(self.cam(lambda maps: maps), np.float32)
        boxes = find_boxes(to_picture(normalise(np.nan_to_num(heat)), frame, "clamp"), self.model.spec)
        return WholePicture(time.perf_counter() - started, self.embedder.seen, boxes.xyxy)


class GradCamPackage(Package):
    """`grad-cam`: masks like the published ones, all held at once; softmax over the plain scores of all maps."""

    name, note = "grad-cam", "no base picture: softmax over the plain scores of every map"

    def cam(self, choose: Callable[[Tensor], Tensor]) -> np.ndarray[Any, Any]:
        """Its progress bar cannot be turned off, so it draws into nowhere."""
        from pytorch_grad_cam import ScoreCAM

        with contextlib.redirect_stderr(io.StringIO()), ScoreCAM(self.embedder, [self.layer], reshape_transform=choose) as cam:
            heat: np.ndarray[Any, Any] = cam(self.x[None], [self.target])[0]
            return heat


class TorchCamPackage(Package):
    """`torchcam`: masks scaled before they are enlarged, aligned by centres; the whole picture is the baseline."""

    name = "torchcam"
    note = "masks scaled first, aligned by centres; the baseline is the picture itself: softmax over every map"

    def wanted(self) -> np.ndarray[Any, Any]:
        """Held against the oracle with the same masks."""
        return self.reference.other_scores

    def cam(self, choose: Callable[[Tensor], Tensor]) -> np.ndarray[Any, Any]:
        """As its manual says: one pass with hooks, then the extractor."""
        from torchcam.methods import ScoreCAM

        with ScoreCAM(self.embedder, self.layer, batch_size=self.task.batch, reshape_transform=choose) as cam:
            with torch.inference_mode():
                self.embedder(self.x[None])
            heat: np.ndarray[Any, Any] = cam(targets=self.target)[0][0].numpy()
            return heat


class GradCam(TorchContender):
    """Maps weighed by their mean gradient: one pass forward, one back, for each query anew."""

    needed = 0  # it runs no masked passes: a turn is a whole picture

    def __init__(self, task: Task, reference: Reference) -> None:
        super().__init__(task, reference)
        require_resnet(self.model)

    def check(self) -> Agreement:
        """There are no scores of masked pictures; the gradient is held against a difference along the maps themselves."""
        maps, gradient = gradients(self.model, self.model.square()[0])
        pool, text = self.model.clip.visual.attnpool, self.model.text
        with torch.no_grad():
            up, down = (F.normalize(pool(maps[None] * (1 + step)), dim=-1)[0] @ text for step in (STEP, -STEP))
        found, wanted = float((gradient * maps).sum()), float(up - down) / (2 * STEP)
        return compare_scores(np.array([found]), np.array([wanted]), "its gradient, by finite difference")

    def turn(self) -> Turn:
        """Whole pictures, after another one."""
        self.whole()
        return picture_turn(self.whole)

    def whole(self) -> WholePicture:
        """From the picture to the boxes."""
        started = time.perf_counter()
        x, frame = self.model.square()
        maps, gradient = gradients(self.model, x)
        grid = (gradient.mean(dim=(1, 2), keepdim=True) * maps).sum(dim=0).relu()
        boxes = find_boxes(to_picture(normalise(grid.numpy()), frame, self.model.spec.resize), self.model.spec)
        return WholePicture(time.perf_counter() - started, 1, boxes.xyxy)


class GScoreCam(PyTorch):
    """The published way on the maps of largest mean gradient; chosen for each query anew, so nothing can be asked again."""

    def __init__(self, task: Task, reference: Reference) -> None:
        super().__init__(task, reference, channels_last=True)
        require_resnet(self.model)

    @property
    def needed(self) -> int:
        """Fewer maps than the backbone has, where it has more."""
        return min(CHOSEN, len(self.maps))

    def choose(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Those of largest gradient."""
        maps, gradient = gradients(self.model, x)
        return maps, gradient.mean(dim=(1, 2)).topk(self.needed).indices

    def turn(self) -> Turn:
        """Passes as any other in PyTorch, and the choice."""
        self.choose(self.x)
        started = time.perf_counter()
        self.choose(self.x)
        once = time.perf_counter() - started
        turn = super().turn()
        return Turn(turn.passes, turn.seconds, turn.pictures, once)


def require_resnet(model: TorchModel) -> None:
    """All here read the maps of one layer; a vision transformer's are components of several blocks."""
    if not model.convolutional:
        raise UnavailableError("reads the last layer of a ResNet; this backbone has none")


def gradients(model: TorchModel, x: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (K, h, w) of a normalised picture and the gradient of the query's cosine on them."""
    taken: list[Tensor] = []
    handle = model.clip.visual.layer4[-1].register_forward_hook(lambda _module, _inputs, out: taken.append(out))
    try:
        score = F.normalize(model.clip.encode_image(x[None]), dim=-1)[0] @ model.text
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(score, taken[0])
    return taken[0].detach()[0], gradient[0]
