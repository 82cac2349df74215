"""The two models: open_clip's own CLIP class under the configurations that their bundles are built from."""

from __future__ import annotations

import math
from pathlib import Path
from typing import cast

import torch
from open_clip import SimpleTokenizer
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from open_clip.model import CLIP
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.func import functional_call

from export.backbones import OWN, from_file
from export.vocabulary import clip_tokenizer

MODELS = ("demo-rn", "demo-vit")


def build(name: str) -> CLIP:
    """A model with fresh weights."""
    if name not in MODELS:
        raise ValueError(f"model `{name}` is unknown: choose one of {', '.join(MODELS)}")
    return CLIP(**from_file(OWN / f"{name}.json").config)


def tokenizer() -> SimpleTokenizer:
    """The tokenizer that both models share."""
    return clip_tokenizer(from_file(OWN / f"{MODELS[0]}.json").merges)


def side(model: CLIP) -> int:
    """The side of the square pictures that the model reads."""
    size = model.visual.image_size
    return int(size if isinstance(size, int) else size[0])


def to_input(pixels: Tensor) -> Tensor:
    """uint8 pictures (b, side, side, 3) as normalised float input (b, 3, side, side), channels last."""
    mean, std = (torch.tensor(values, device=pixels.device) * 255 for values in _constants())
    return ((pixels.float() - mean) / std).permute(0, 3, 1, 2)


def embed_pictures(visual: torch.nn.Module, pixels: Tensor) -> Tensor:
    """Picture embeddings (b, dim) of square input (b, 3, s, s) whose side may differ from the model's own.

    The position embedding is resampled to the grid of the input, with gradients: half of a run can then be
    spent on smaller pictures, of which more than twice as many fit into the same time.
    """
    name = "attnpool.positional_embedding" if hasattr(visual, "attnpool") else "positional_embedding"
    places = visual.get_parameter(name)
    own, grid = math.isqrt(len(places) - 1), pixels.shape[-1] // (32 if hasattr(visual, "attnpool") else 16)
    if own == grid:
        return cast(Tensor, visual(pixels))
    square = places[1:].T.reshape(1, -1, own, own)
    square = torch.nn.functional.interpolate(square, size=(grid, grid), mode="bilinear", antialias=True)
    resampled = torch.cat([places[:1], square.flatten(2)[0].T])
    return cast(Tensor, functional_call(visual, {name: resampled}, (pixels,)))


def _constants() -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(OPENAI_DATASET_MEAN), tuple(OPENAI_DATASET_STD)


def embed_tokens(model: CLIP, tokens: Tensor) -> Tensor:
    """Text embeddings (n, dim) of tokens (n, t) with t up to the context, not normalised.

    Attention is causal and only the end token is read, so padding beyond the longest caption changes
    nothing: cutting it off gives the result of model.encode_text several times faster.
    """
    length = int((tokens != 0).sum(dim=1).max())
    tokens = tokens[:, :length]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    ends = model.ln_final(x)[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=1)]
    return cast(Tensor, ends @ model.text_projection)


def save_weights(state: dict[str, Tensor], used_tokens: Tensor, path: Path) -> None:
    """Write weights as fp16 under open_clip's names; rows of words never taught are zeroed, as they hold noise."""
    kept = {name: _stored(value) for name, value in state.items()}
    taught = torch.zeros(len(kept["token_embedding.weight"]), 1, dtype=torch.float16)
    taught[used_tokens] = 1
    kept["token_embedding.weight"] = kept["token_embedding.weight"] * taught
    fresh = path.with_suffix(".part")
    save_file(kept, fresh)
    fresh.replace(path)


def _stored(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.to(torch.float16) if value.is_floating_point() else value


def load_weights(name: str, path: Path) -> CLIP:
    """A model with the weights of a checkpoint, in float32 and eval mode."""
    model, stored = build(name), load_file(path)
    wrong = sorted(set(stored) ^ set(model.state_dict()))
    if wrong:
        raise ValueError(f"`{path}` does not fit {name}: {', '.join(wrong[:3])} differ")
    model.load_state_dict(stored)
    return model.float().eval()
