"""Contenders in PyTorch: the published way as the oracle has it, and what PyTorch can do at its best."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from bench.compare.machine import torch_device, versions
from bench.compare.task import (
    Agreement,
    Facts,
    Floats,
    Reference,
    Task,
    Turn,
    WholePicture,
    choose_sample,
    compare_scores,
    picture_turn,
)
from engine.boxes import find_boxes
from engine.frame import Frame
from engine.saliency import normalise, to_picture
from engine.spec import Spec, named_spec
from export.backbones import find_backbone
from export.sources import find_source
from export.weights import load
from runtime.pictures import Pixels, read_picture
from runtime.preprocess import fit_to_square
from tests import oracle

Tower = Any  # open_clip's modules carry no types
Step = Callable[[Tensor, Tensor], Tensor]


class TorchModel:
    """The task's model and picture in PyTorch, as every contender here needs them."""

    def __init__(self, task: Task) -> None:
        torch.set_num_threads(task.threads)
        backbone = find_backbone(task.backbone)
        loaded = load(backbone, find_source(backbone, task.pretrained, None), 0)
        self.clip: Tower = loaded.model.eval()
        self.mean, self.std = loaded.preprocessing.mean, loaded.preprocessing.std
        self.spec: Spec = named_spec(task.spec)
        known = {field.name for field in fields(oracle.OracleSpec)}
        self.oracle_spec = oracle.OracleSpec(**{name: value for name, value in self.spec.to_dict().items() if name in known})
        self.batch = task.batch
        self.picture = read_picture(task.picture)
        self.side = int(np.max(self.clip.visual.image_size))
        with torch.no_grad():
            self.text: Tensor = F.normalize(self.clip.encode_text(loaded.tokenizer([task.query]))[0], dim=0)

    @property
    def convolutional(self) -> bool:
        """Whether the image tower is a ResNet."""
        return hasattr(self.clip.visual, "layer4")

    def pixels(self) -> tuple[Pixels, Frame]:
        """The picture as the model sees it (R, R, 3), and its place."""
        return fit_to_square(self.picture, self.side, self.spec.geometry, "bicubic", self.mean)

    def square(self, device: torch.device | None = None) -> tuple[Tensor, Frame]:
        """The same, normalised (3, R, R)."""
        pixels, frame = self.pixels()
        return oracle.to_tensor(pixels, self.mean, self.std, torch.float32).to(device), frame

    def maps(self, x: Tensor) -> Tensor:
        """The maps (K, h, w) of a normalised picture."""
        return oracle.cnn_maps(self.clip, x) if self.convolutional else oracle.vit_maps(self.clip, x)

    def answer(self, maps: Tensor, scores: Tensor, frame: Frame) -> tuple[Floats, Floats]:
        """Boxes (n, 4) and saliency (h, w) from maps (K, h, w) and their scores (K,) relative to the base."""
        grid = oracle.saliency(maps, scores, 0.0, self.oracle_spec, float(self.clip.logit_scale.detach().exp()))
        plane = normalise(np.zeros(maps.shape[1:], np.float32) if grid is None else np.asarray(grid, np.float32))
        return find_boxes(to_picture(plane, frame, self.spec.resize), self.spec).xyxy, plane

    def oracle_scores(self, maps: Tensor, pixels: Pixels, **habits: str) -> Floats:
        """The oracle's scores (n,) of some maps relative to the base; `habits` are other switches of its masks."""
        spec = oracle.OracleSpec(**{**vars(self.oracle_spec), **habits})
        embeddings, base, _ = oracle.encode(self.clip, pixels, self.mean, self.std, maps, spec=spec, batch=self.batch)
        found = oracle.scores(embeddings, self.text) - oracle.scores(base[None], self.text)
        return np.asarray(found.numpy(), np.float32)


class Oracle:
    """Makes the reference; lives in a process of its own, which ends before any clock starts."""

    def __init__(self, task: Task) -> None:
        self.model = TorchModel(task)

    def reference(self) -> Reference:
        """What every contender is held against."""
        model = self.model
        pixels, (x, _) = model.pixels()[0], model.square()
        maps = model.maps(x)
        live = oracle.live(maps).numpy()
        sample = choose_sample(live)
        tried = maps[torch.from_numpy(sample)]
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            base = F.normalize(model.clip.encode_image(torch.zeros_like(x)[None]), dim=-1)[0]
        return Reference(
            pixels=pixels,
            maps=maps.numpy(),
            live=live,
            text=model.text.numpy(),
            sample=sample,
            scores=model.oracle_scores(tried, pixels),
            other_scores=model.oracle_scores(tried, pixels, mask_order="normalise-first", mask_align="centers"),
            base_score=float(base @ model.text),
            flops=float(counter.get_total_flops()),
        )


class TorchContender:
    """What those in PyTorch share: a sample to be checked on, passes under the clock, whole pictures."""

    besides = 0  # passes that `scores` runs besides those of the maps

    def __init__(self, task: Task, reference: Reference) -> None:
        self.task, self.reference = task, reference
        self.model = TorchModel(task)
        self.device: torch.device = torch_device(task)
        self.maps = torch.from_numpy(reference.maps).to(self.device)
        self.versions, self.extra = versions("torch", "open_clip_torch"), dict[str, float]()

    @property
    def needed(self) -> int:
        """Passes that a picture takes."""
        return len(self.maps)

    def scores(self, maps: Tensor) -> Tensor:
        """Scores (n,) of maps relative to the base, on the host: the device is done then."""
        raise NotImplementedError

    def choose(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The maps (K, h, w) of a normalised picture, and which of them are to be run."""
        maps = self.model.maps(x)
        return maps, torch.arange(len(maps))

    def facts(self) -> Facts:
        """What is run, on what."""
        return Facts(self.needed, str(self.device), self.versions, self.extra)

    def check(self) -> Agreement:
        """Scores of the sample."""
        return compare_scores(self.scores(self.maps[torch.from_numpy(self.reference.sample)]).numpy(), self.reference.scores)

    def turn(self) -> Turn:
        """So many passes, whole batches, after one batch to warm up; or whole pictures."""
        live, batch = self.maps[torch.from_numpy(self.reference.live)], self.task.batch
        self.scores(live[:batch])
        if not self.task.passes:
            return picture_turn(self.whole)
        count = min(len(live), batch * max(1, self.task.passes // batch))
        started = time.perf_counter()
        self.scores(live[:count])
        return Turn(count + self.besides, time.perf_counter() - started)

    def whole(self) -> WholePicture:
        """One picture: maps, passes, saliency, boxes; maps that were not run count as below the base."""
        started = time.perf_counter()
        self.x, frame = self.model.square(self.device)
        maps, which = self.choose(self.x)
        scores = torch.full((len(maps),), -1.0)
        scores[which.cpu()] = self.scores(maps[which])
        xyxy, grid = self.model.answer(maps.cpu(), scores, frame)
        return WholePicture(time.perf_counter() - started, len(which), xyxy, grid, scores.numpy())


class Published(TorchContender):
    """The oracle as it stands: every map, constant ones too, its mask made by itself."""

    besides = 2  # the picture and the base

    def scores(self, maps: Tensor) -> Tensor:
        """By the oracle."""
        return torch.from_numpy(self.model.oracle_scores(maps, self.reference.pixels))

    def whole(self) -> WholePicture:
        """One picture by the oracle alone."""
        model, started = self.model, time.perf_counter()
        found = oracle.locate(
            model.clip, model.picture, model.text, model.oracle_spec, mean=model.mean, std=model.std, batch=model.batch
        )
        seconds = time.perf_counter() - started
        grid = None if found.grid is None else found.grid.numpy()
        return WholePicture(seconds, len(found.maps), found.xyxy, grid, (found.scores - found.base_score).numpy())


class PyTorch(TorchContender):
    """The masked passes in PyTorch, on a processor or a card: masks, tower and unit length in one step of one shape."""

    def __init__(
        self,
        task: Task,
        reference: Reference,
        *,
        channels_last: bool = False,
        bf16: bool = False,
        half: bool = False,
        compiled: bool = False,
        graph: bool = False,
    ) -> None:
        super().__init__(task, reference)
        self.bf16, self.dtype = bf16, torch.float16 if half else torch.float32
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # streams and captures belong to the card in use
            torch.backends.cudnn.benchmark = True
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.model.clip.to(self.device, self.dtype)
        self.tower = self.model.clip.visual.to(memory_format=self.format)
        self.text = self.model.text.to(self.device)
        self.x, _ = self.model.square(self.device)
        started = time.perf_counter()
        self.run: Step = torch.compile(self.step) if compiled else self.step
        if graph:
            self.run = self.captured()
        self.base = self.embed(torch.zeros_like(self.maps[:1]))[0]
        self.extra["first_batch_s"] = round(time.perf_counter() - started, 2)

    @property
    def needed(self) -> int:
        """Constant maps are skipped, as ours are."""
        return self.reference.needed

    def step(self, maps: Tensor, x: Tensor) -> Tensor:
        """Unit embeddings (B, D) under B maps; masks and length in float32."""
        large = F.interpolate(maps[:, None], (self.model.side,) * 2, mode="bilinear", align_corners=True)
        low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
        masked = ((large - low) / (high - low + 1e-7) * x).to(self.dtype).contiguous(memory_format=self.format)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            embeddings = self.tower(masked)
        return F.normalize(embeddings.float(), dim=-1)

    def captured(self) -> Step:
        """The step as a CUDA graph: its inputs are copied to where it was captured."""
        maps = torch.zeros(self.task.batch, *self.maps.shape[1:], device=self.device)
        x = self.x.clone()
        side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self.device))
        with torch.inference_mode(), torch.cuda.stream(side):
            for _ in range(3):  # libraries choose their algorithms outside the capture
                self.step(maps, x)
        torch.cuda.current_stream(self.device).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.inference_mode(), torch.cuda.graph(graph):
            out = self.step(maps, x)

        def replay(given: Tensor, picture: Tensor) -> Tensor:
            maps.copy_(given)
            x.copy_(picture)
            graph.replay()
            return out.clone()

        return replay

    def embed(self, maps: Tensor) -> Tensor:
        """Unit embeddings (n, D) under n maps, padded to whole batches so that every run has one shape."""
        rows = []
        with torch.inference_mode():
            for part in torch.split(maps, self.task.batch):
                padded = F.pad(part, (0, 0, 0, 0, 0, self.task.batch - len(part)))
                rows.append(self.run(padded, self.x)[: len(part)])
            return torch.cat(rows)

    def scores(self, maps: Tensor) -> Tensor:
        """Scores (n,) relative to the base."""
        return ((self.embed(maps) - self.base) @ self.text).cpu()

    def choose(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Those that are not constant."""
        with torch.no_grad():
            maps = self.model.maps(x.to(self.dtype)).float()
        return maps, oracle.live(maps).nonzero()[:, 0]
