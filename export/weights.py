"""Weights into a model: those of a source, or seeded random numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import open_clip
import torch
from open_clip import SimpleTokenizer
from torch import Tensor, nn

from engine.manifest import WeightsInfo
from export.backbones import Backbone, empty_model, floats_of
from export.encoders import Tower
from export.sources import Source, address, check_tensors, fetched, licence_of, plain
from export.vocabulary import clip_tokenizer
from runtime.filling.checkpoint import Checkpoint, open_checkpoint
from runtime.filling.hub import Say
from runtime.filling.origin import sha256_of

CALIBRATION = 8  # seeded pictures that give a random model its BatchNorm statistics


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its pictures."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Literal["bicubic", "bilinear"]


@dataclass(frozen=True)
class Loaded:
    """A model ready to be exported, in float32 and evaluation mode."""

    model: Tower
    weights: WeightsInfo
    preprocessing: Preprocessing
    tokenizer: SimpleTokenizer


def load(backbone: Backbone, source: Source, seed: int, say: Say = print) -> Loaded:
    """Build the model and fill it; refuse weights that do not fit or hold anything that is not a finite number."""
    if source.kind == "none":
        model, digest = random_model(backbone, source, seed), hashlib.sha256(f"seed {seed}".encode()).hexdigest()
    else:
        path, source = fetched(source, say)
        checkpoint = open_checkpoint(path)
        check_tensors(backbone, checkpoint)
        model, digest = empty_model(backbone, source.quick_gelu), sha256_of(path)
        fill(model, checkpoint)
    info = WeightsInfo(
        tag=source.name if source.kind != "file" else Path(source.name).name,
        source=address(source),
        sha256=digest,
        licence=licence_of(source),
        trained=source.kind != "none",
    )
    tokenizer = clip_tokenizer(backbone.merges, int(model.context_length))
    return Loaded(model.float().eval(), info, preprocessing_of(model, source), tokenizer)


def random_model(backbone: Backbone, source: Source, seed: int) -> Tower:
    """Make a model of seeded random weights that reacts to its input as a trained one does.

    Fresh towers start with silent branches and faint words, and untouched BatchNorm statistics let every picture look the
    same. So the branches are opened, and the statistics are taken from a few seeded pictures.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = empty_model(backbone, source.quick_gelu)
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            nn.init.uniform_(norm.weight, 0.5, 1.0)
            nn.init.normal_(norm.bias, std=0.1)
            norm.momentum = None  # a plain average over what is seen
        for name, weight in model.named_parameters():
            if ".resblocks." in name and weight.ndim == 2:
                nn.init.normal_(weight, std=1.5 * weight.shape[1] ** -0.5)
            elif name.endswith("token_embedding.weight"):
                nn.init.normal_(weight)
        if norms:
            side = int(backbone.config["vision_cfg"].get("image_size", 224))
            coarse = torch.randn(CALIBRATION, 3, 7, 7) + torch.randn(CALIBRATION, 3, 1, 1)
            with torch.no_grad():
                model.train()
                model.encode_image(nn.functional.interpolate(coarse, (side, side), mode="bicubic"))
    return model


def fill(model: Tower, checkpoint: Checkpoint) -> None:
    """Copy a checkpoint into a model, one tensor at a time."""
    with torch.no_grad():
        for name, tensor in floats_of(model).items():
            tensor.copy_(torch.from_numpy(np.array(checkpoint.tensors[plain(name)])))


def preprocessing_of(model: Tower, source: Source) -> Preprocessing:
    """Mean, standard deviation and resampling, from the weights' own record or CLIP's constants."""
    found = dict(getattr(model.visual, "preprocess_cfg", None) or source.details)
    mean = found.get("mean", open_clip.OPENAI_DATASET_MEAN)
    std = found.get("std", open_clip.OPENAI_DATASET_STD)
    return Preprocessing(tuple(mean), tuple(std), "bilinear" if found.get("interpolation") == "bilinear" else "bicubic")


def state_digest(model: Tower) -> str:
    """The sha256 over a model's tensors, for weights that are not one file."""
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(as_bytes(tensor))
    return digest.hexdigest()


def as_bytes(tensor: Tensor) -> bytes:
    """The raw bytes of a tensor."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
