"""Yardsticks in PyTorch on a card: eager, compiled, captured."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bench.compare.job import Agreement, Facts, Job, Reference, Turn, UnavailableError, Whole
from bench.compare.scores import compare
from bench.compare.torch_ways import Model, masks, versions
from bench.gpu.ours import MOST, TURN_S
from engine.frame import Frame
from tests import oracle

Step = Callable[[Tensor, Tensor], Tensor]


class TorchOnDevice:
    """The masked passes in PyTorch: masks, tower and unit length in one step, of one shape."""

    def __init__(
        self,
        job: Job,
        reference: Reference,
        *,
        device: str,
        half: bool = False,
        channels_last: bool = False,
        compiled: bool = False,
        graph: bool = False,
    ) -> None:
        self.job, self.reference = job, reference
        self.device = torch.device(device)
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise UnavailableError(f"PyTorch {torch.__version__} finds no CUDA card")
        if graph and self.device.type != "cuda":
            raise UnavailableError("CUDA graphs need a CUDA card")
        if self.device.type == "cuda":
            torch.cuda.set_device(self.device)  # streams and captures belong to the card in use
        torch.backends.cudnn.benchmark = True
        self.model = Model(job)
        self.dtype = torch.float16 if half else torch.float32
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.model.clip.to(self.device, self.dtype)
        self.tower = self.model.clip.visual.to(memory_format=self.format)
        self.text = self.model.text.to(self.device)
        self.x, self.frame = self.square()
        self.live = torch.from_numpy(reference.maps).to(self.device)[torch.from_numpy(reference.live).to(self.device)]
        started = time.perf_counter()
        self.run: Step = torch.compile(self.step) if compiled else self.step
        if graph:
            self.run = self.captured()
        self.base = self.embed(torch.zeros_like(self.live[:1]))[0]
        self.first_batch_s = time.perf_counter() - started

    def square(self) -> tuple[Tensor, Frame]:
        """The normalised picture (3, R, R) on the device, and its frame."""
        x, frame = self.model.square()
        return x.to(self.device), frame

    def step(self, maps: Tensor, x: Tensor) -> Tensor:
        """Unit embeddings (B, D) under B maps; masks and length in float32."""
        masked = (masks(maps, self.model.side) * x).to(self.dtype).contiguous(memory_format=self.format)
        return F.normalize(self.tower(masked).float(), dim=-1)

    def captured(self) -> Step:
        """The step as a CUDA graph: its inputs are copied to where it was captured."""
        maps = torch.zeros(self.job.batch, *self.live.shape[1:], device=self.device)
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
        """Unit embeddings (n, D) under n maps, padded to whole batches."""
        with torch.inference_mode():
            rows = []
            for part in torch.split(maps, self.job.batch):
                padded = F.pad(part, (0, 0, 0, 0, 0, self.job.batch - len(part)))
                rows.append(self.run(padded, self.x)[: len(part)])
            return torch.cat(rows)

    def scores(self, maps: Tensor) -> Tensor:
        """Scores (n,) relative to the base, on the host: the device is done then."""
        return ((self.embed(maps) - self.base) @ self.text).cpu()

    def facts(self) -> Facts:
        """Constant maps are skipped, as ours are."""
        return Facts(self.reference.needed, str(self.device), versions(), {"first_batch_s": round(self.first_batch_s, 2)})

    def check(self) -> Agreement:
        """Scores of the sample."""
        sample = torch.from_numpy(self.reference.maps[self.reference.sample]).to(self.device)
        return compare(self.scores(sample).numpy(), self.reference.scores)

    def turn(self) -> Turn:
        """Whole pictures, as ours."""
        self.scores(self.live[: self.job.batch])
        passes, spent, pictures = 0, 0.0, 0
        while pictures < 1 or (spent < TURN_S and pictures < MOST):
            whole = self.whole()
            passes, spent, pictures = passes + whole.passes, spent + whole.seconds, pictures + 1
        return Turn(passes, spent)

    def whole(self) -> Whole:
        """One picture: maps, passes, saliency, boxes."""
        started = time.perf_counter()
        self.x, frame = self.square()
        with torch.no_grad():
            maps = self.model.maps(self.x.to(self.dtype)).float()
            alive = oracle.live(maps)
            scores = torch.zeros(len(maps))
            scores[alive.cpu()] = self.scores(maps[alive])
            xyxy, grid = self.model.answer(maps.cpu(), scores, frame)
        return Whole(time.perf_counter() - started, int(alive.sum()), xyxy, grid, np.asarray(scores))

    def device_peak_mib(self) -> float:
        """The most that PyTorch ever held on the card."""
        return torch.cuda.max_memory_allocated(self.device) / 2**20 if self.device.type == "cuda" else 0.0
