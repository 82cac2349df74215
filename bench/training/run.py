"""A model under training: one update, the running average of its weights, and its checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from open_clip.model import CLIP
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cosine_similarity, normalize

from bench.training.check import Exam, top_1
from bench.training.data import Batch, taught_tokens
from bench.training.loss import contrastive
from bench.training.models import build, embed_pictures, embed_tokens, load_weights, save_weights, to_input
from bench.training.words import teach_words

WARM_STEPS = 100
WORD_STEPS = 400
HIGHEST_SCALE = math.log(100)
FOLLOWING = 4.0  # weight of nearness to the teacher's picture embeddings


@dataclass(frozen=True, slots=True)
class Options:
    """The settings of a run."""

    model: str
    sprites: Path
    out: Path
    pictures: int
    batch: int
    rate: float
    decay: float
    averaging: float
    seed: int
    workers: int
    every: float
    compiled: bool
    teacher: Path | None


class Run:
    """A model under training with all that a checkpoint must hold."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(options.seed)
        self.model: CLIP = build(options.model).to(self.device, memory_format=torch.channels_last)
        self.steps, self.pictures, self.minutes = 0, 0, 0.0
        self.taught = taught_tokens()
        self.teacher = None if options.teacher is None else self._hire(options.teacher)
        if options.teacher is None and not self._state_file.exists():
            teach_words(self.model, WORD_STEPS, options.seed)
        for name, value in self.model.named_parameters():
            value.requires_grad_(name.startswith(("visual.", "logit_scale")))  # the words are taught, and stand
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.optimiser = torch.optim.AdamW(_groups(self.model, options.decay), lr=options.rate, betas=(0.9, 0.98))
        if self._state_file.exists():
            self._resume()
        self.embed = torch.compile(embed_pictures, dynamic=False) if options.compiled else embed_pictures

    @property
    def _state_file(self) -> Path:
        return self.options.out / "state.pt"

    def _hire(self, weights: Path) -> torch.nn.Module:
        """Take over the text tower of a trained demo-rn as it is; returns its picture tower to learn from."""
        teacher = load_weights("demo-rn", weights).to(self.device, memory_format=torch.channels_last)
        kept = {name: value for name, value in teacher.state_dict().items() if not name.startswith("visual.")}
        self.model.load_state_dict(kept, strict=False)
        return cast(torch.nn.Module, teacher.visual)

    def _resume(self) -> None:
        state = torch.load(self._state_file, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average, self.minutes = state["average"], state["minutes"]
        self.steps, self.pictures = state["steps"], state["pictures"]

    def save(self) -> None:
        """Write the state to go on from, and the averaged weights to use."""
        state = {
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average,
            "steps": self.steps,
            "pictures": self.pictures,
            "minutes": self.minutes,
        }
        fresh = self._state_file.with_suffix(".part")
        torch.save(state, fresh)
        fresh.replace(self._state_file)
        save_weights(self.average, self.taught, self.options.out / "latest.safetensors")

    def step(self, batch: Batch) -> float:
        """One update; returns the loss."""
        rate = self.options.rate * schedule(self.steps, self.pictures / self.options.pictures)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        # The plain kernel: on CPU the backward pass of the fused one takes longer than all other text work.
        with sdpa_kernel(SDPBackend.MATH):
            loss = self._loss(batch)
            self.optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.steps += 1
        self.pictures += len(batch.pixels)
        self._follow()
        return float(loss.detach())

    def _loss(self, batch: Batch) -> Tensor:
        pixels = to_input(batch.pixels.to(self.device))
        tokens = batch.tokens.to(self.device)
        with torch.autocast(self.device.type, torch.bfloat16):
            pictures = self.embed(self.model.visual, pixels)
            with torch.no_grad():
                texts = embed_tokens(self.model, tokens)
        cosines = normalize(pictures.float(), dim=1) @ normalize(texts.float(), dim=1).T
        logits = self.model.logit_scale.exp() * cosines
        loss = contrastive(logits, batch.right.to(self.device), batch.unsure.to(self.device))
        if self.teacher is None:
            return loss
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16):
            known = embed_pictures(self.teacher, pixels)
        return loss + FOLLOWING * (1 - cosine_similarity(pictures.float(), known.float(), dim=1)).mean()

    @torch.no_grad()
    def _follow(self) -> None:
        """Hold the logit scale and move the average towards the weights; early on it moves faster."""
        self.model.logit_scale.clamp_(0, HIGHEST_SCALE)
        share = 1 - min(self.options.averaging, (1 + self.steps) / (10 + self.steps))
        for name, value in self.model.state_dict().items():
            if value.is_floating_point():
                self.average[name].lerp_(value, share)
            else:
                self.average[name].copy_(value)

    def accuracy(self, asked: Exam) -> float:
        """Zero-shot top-1 of the averaged weights."""
        judged = build(self.options.model)
        judged.load_state_dict({name: value.cpu() for name, value in self.average.items()})
        return top_1(judged.eval(), asked)


def _groups(model: CLIP, decay: float) -> list[dict[str, object]]:
    """Weight decay on matrices only."""
    named = [item for item in model.named_parameters() if item[1].requires_grad]
    plain = [value for name, value in named if value.ndim < 2 or "embedding" in name]
    heavy = [value for name, value in named if not (value.ndim < 2 or "embedding" in name)]
    return [{"params": plain, "weight_decay": 0.0}, {"params": heavy, "weight_decay": decay}]


def schedule(steps: int, progress: float) -> float:
    """Linear warm-up in steps, then a cosine over the pictures of the run down to 1 %."""
    falling = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return min(1.0, (steps + 1) / WARM_STEPS) * falling
