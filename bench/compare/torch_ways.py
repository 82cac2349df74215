"""Ways in PyTorch: the published one as the oracle has it, and what PyTorch can do at its best."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.compare.job import Agreement, Facts, Floats, Job, Reference, Turn, Whole
from bench.compare.scores import compare, spaced
from engine.boxes import find_boxes
from engine.frame import Frame
from engine.saliency import normalise, to_picture
from engine.spec import Spec, named_spec
from export.backbones import find_backbone
from export.weights import find_source, load
from runtime.pictures import read_picture
from runtime.preprocess import fit_to_square
from tests import oracle

Tower = Any  # open_clip's modules carry no types


class Model:
    """The job's model and picture in PyTorch, as every way here needs them."""

    def __init__(self, job: Job) -> None:
        torch.set_num_threads(job.threads)
        self.job = job
        backbone = find_backbone(job.backbone)
        loaded = load(backbone, find_source(backbone, job.pretrained, None), 0)
        self.clip: Tower = loaded.model.eval()
        self.mean, self.std = loaded.preprocessing.mean, loaded.preprocessing.std
        self.spec: Spec = named_spec(job.spec)
        self.oracle_spec = oracle_spec(self.spec)
        self.picture = read_picture(job.picture)
        self.side = int(np.max(self.clip.visual.image_size))
        with torch.no_grad():
            self.text: Tensor = F.normalize(self.clip.encode_text(loaded.tokenizer([job.query]))[0], dim=0)

    @property
    def convolutional(self) -> bool:
        """Whether the image tower is a ResNet."""
        return hasattr(self.clip.visual, "layer4")

    def square(self) -> tuple[Tensor, Frame]:
        """The normalised picture (3, R, R) and its place."""
        pixels, frame = fit_to_square(self.picture, self.side, self.spec.geometry, "bicubic", self.mean)
        return oracle.to_tensor(pixels, self.mean, self.std, torch.float32), frame

    def maps(self, x: Tensor) -> Tensor:
        """The maps (K, h, w) of a normalised picture."""
        return oracle.cnn_maps(self.clip, x) if self.convolutional else oracle.vit_maps(self.clip, x)

    def answer(self, maps: Tensor, scores: Tensor, frame: Frame) -> tuple[Floats, Floats]:
        """Boxes (n, 4) and saliency (h, w) from maps (K, h, w) and their scores (K,) relative to the base."""
        grid = oracle.saliency(maps, scores, 0.0, self.oracle_spec, float(self.clip.logit_scale.detach().exp()))
        plane = normalise(np.zeros(maps.shape[1:], np.float32) if grid is None else np.asarray(grid, np.float32))
        return find_boxes(to_picture(plane, frame, self.spec.resize), self.spec).xyxy, plane


class Published:
    """The oracle as it stands."""

    def __init__(self, job: Job, reference: Reference) -> None:
        self.job, self.reference = job, reference
        self.model = Model(job)

    def facts(self) -> Facts:
        """Every map is run, constant ones too."""
        return Facts(len(self.reference.maps), "cpu", versions())

    def check(self) -> Agreement:
        """The oracle agrees with itself from process to process."""
        return compare(self.scores(self.reference.sample), self.reference.scores)

    def scores(self, which: np.ndarray[Any, Any]) -> Floats:
        """Scores of some maps relative to the base."""
        return oracle_scores(self.model, torch.from_numpy(self.reference.maps[which]), self.reference.pixels, self.job.batch)

    def turn(self) -> Turn:
        """Encode masked pictures in batches, the masks made one by one."""
        maps = torch.from_numpy(self.reference.maps)
        self.encode(maps[: self.job.batch])
        count = min(self.job.passes, len(maps))
        started = time.perf_counter()
        self.encode(maps[:count])
        return Turn(count + 2, time.perf_counter() - started)  # the oracle encodes the base and the picture as well

    def encode(self, maps: Tensor) -> None:
        """Run the oracle's masked passes."""
        model = self.model
        spec, batch = model.oracle_spec, self.job.batch
        oracle.encode(model.clip, self.reference.pixels, model.mean, model.std, maps, spec=spec, batch=batch)

    def whole(self) -> Whole:
        """One picture by the oracle alone."""
        model = self.model
        started = time.perf_counter()
        found = oracle.locate(
            model.clip, model.picture, model.text, model.oracle_spec, mean=model.mean, std=model.std, batch=self.job.batch
        )
        seconds = time.perf_counter() - started
        grid = None if found.grid is None else found.grid.numpy()
        return Whole(seconds, len(found.scores), found.xyxy, grid, (found.scores - found.base_score).numpy())


class Torch:
    """All masks of a batch at once; optionally channels last, bf16 autocast and compiled."""

    def __init__(
        self, job: Job, reference: Reference, *, channels_last: bool = False, bf16: bool = False, compiled: bool = False
    ) -> None:
        self.job, self.reference, self.bf16 = job, reference, bf16
        self.model = Model(job)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.tower = self.model.clip.visual.to(memory_format=self.format)
        self.encode: Callable[[Tensor], Tensor] = torch.compile(self.tower) if compiled else self.tower
        self.x, self.frame = self.model.square()
        self.maps = torch.from_numpy(reference.maps)
        started = time.perf_counter()
        self.base = self.embed(torch.zeros_like(self.maps[:1]))[0]
        self.first_batch_s = time.perf_counter() - started

    def embed(self, maps: Tensor) -> Tensor:
        """Unit embeddings (n, D) under n maps, padded to whole batches so that every run has one shape."""
        rows = []
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            for part in torch.split(maps, self.job.batch):
                padded = F.pad(part, (0, 0, 0, 0, 0, self.job.batch - len(part)))
                masked = (masks(padded, self.model.side) * self.x).contiguous(memory_format=self.format)
                rows.append(F.normalize(self.encode(masked).float(), dim=-1)[: len(part)])
        return torch.cat(rows)

    def scores(self, maps: Tensor) -> Tensor:
        """Scores (n,) relative to the base."""
        return (self.embed(maps) - self.base) @ self.model.text

    def facts(self) -> Facts:
        """Constant maps are skipped, as ours are."""
        return Facts(self.reference.needed, "cpu", versions(), {"first_batch_s": round(self.first_batch_s, 2)})

    def check(self) -> Agreement:
        """Scores of the sample."""
        return compare(self.scores(self.maps[self.reference.sample]).numpy(), self.reference.scores)

    def turn(self) -> Turn:
        """So many passes, whole batches, after one batch to warm up."""
        batch, live = self.job.batch, self.maps[self.reference.live]
        self.embed(live[:batch])
        count = batch * max(1, min(self.job.passes, len(live)) // batch)
        started = time.perf_counter()
        self.embed(live[:count])
        return Turn(count, time.perf_counter() - started)

    def whole(self) -> Whole:
        """One picture: maps, passes, saliency, boxes."""
        started = time.perf_counter()
        self.x, frame = self.model.square()
        with torch.no_grad():
            maps = self.model.maps(self.x)
            alive = oracle.live(maps)
            scores = torch.zeros(len(maps))
            scores[alive] = self.scores(maps[alive])
            xyxy, grid = self.model.answer(maps, scores, frame)
        return Whole(time.perf_counter() - started, int(alive.sum()), xyxy, grid, scores.numpy())


def masks(maps: Tensor, side: int) -> Tensor:
    """Masks (n, 1, R, R) of maps (n, h, w), as the method has them."""
    large = F.interpolate(maps[:, None], (side, side), mode="bilinear", align_corners=True)
    low, high = large.amin((2, 3), keepdim=True), large.amax((2, 3), keepdim=True)
    return (large - low) / (high - low + 1e-7)


def oracle_spec(spec: Spec) -> oracle.OracleSpec:
    """The oracle's own record of a spec."""
    known = {field.name for field in fields(oracle.OracleSpec)}
    return oracle.OracleSpec(**{name: value for name, value in spec.to_dict().items() if name in known})


def oracle_scores(model: Model, maps: Tensor, pixels: np.ndarray[Any, Any], batch: int, **habits: str) -> Floats:
    """The oracle's scores (n,) of some maps relative to the base; `habits` are other switches of its masks."""
    spec = oracle.OracleSpec(**{**vars(model.oracle_spec), **habits})
    embeddings, base, _ = oracle.encode(model.clip, pixels, model.mean, model.std, maps, spec=spec, batch=batch)
    found = oracle.scores(embeddings, model.text) - oracle.scores(base[None], model.text)
    return np.asarray(found.numpy(), np.float32)


def versions() -> dict[str, str]:
    """What the ways in PyTorch run on."""
    return {name: version(name) for name in ("torch", "open_clip_torch")}


class Oracle:
    """Makes the reference; lives in a process of its own, which ends before any clock starts."""

    def __init__(self, job: Job) -> None:
        self.model = Model(job)

    def reference(self) -> Reference:
        """What every way is held against."""
        from torch.utils.flop_counter import FlopCounterMode

        model = self.model
        pixels, _ = fit_to_square(model.picture, model.side, model.spec.geometry, "bicubic", model.mean)
        x = oracle.to_tensor(pixels, model.mean, model.std, torch.float32)
        maps = model.maps(x)
        live = oracle.live(maps).numpy()
        sample = spaced(live)
        tried, batch = maps[torch.from_numpy(sample)], model.job.batch
        black = torch.zeros_like(x)[None]
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            base = F.normalize(model.clip.encode_image(black), dim=-1)[0]
        return Reference(
            pixels=pixels,
            maps=maps.numpy(),
            live=live,
            text=model.text.numpy(),
            sample=sample,
            scores=oracle_scores(model, tried, pixels, batch),
            other_scores=oracle_scores(model, tried, pixels, batch, mask_order="normalise-first", mask_align="centers"),
            base_score=float(base @ model.text),
            flops=float(counter.get_total_flops()),
        )
