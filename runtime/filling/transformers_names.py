"""The CLIP of the `transformers` library: its tensors under open_clip's names, and what its configuration tells."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.errors import WeightsError
from runtime.filling.tensors import Tensor, Tensors

TOWERS = ("vision_model.", "text_model.")
MARK = "text_model.embeddings.token_embedding.weight"
# Theirs -> ours, parts of names from left to right; `pre_layrnorm` is spelled so.
NAMES = (
    (r"^vision_model\.embeddings\.patch_embedding\.weight$", "visual.conv1.weight"),
    (r"^vision_model\.embeddings\.class_embedding$", "visual.class_embedding"),
    (r"^vision_model\.embeddings\.position_embedding\.weight$", "visual.positional_embedding"),
    (r"^vision_model\.pre_layrnorm\.", "visual.ln_pre."),
    (r"^vision_model\.post_layernorm\.", "visual.ln_post."),
    (r"^vision_model\.encoder\.layers\.", "visual.transformer.resblocks."),
    (r"^visual_projection\.weight$", "visual.proj"),
    (r"^text_model\.embeddings\.token_embedding\.weight$", "token_embedding.weight"),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"^text_projection\.weight$", "text_projection"),
    (r"\.layer_norm1\.", ".ln_1."),
    (r"\.layer_norm2\.", ".ln_2."),
    (r"\.self_attn\.", ".attn."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)
TURNED = ("visual.proj", "text_projection")  # layers there, matrices that rows are multiplied by here
PARTS = ("q_proj", "k_proj", "v_proj")  # three layers there, one matrix here


def is_transformers(tensors: Tensors) -> bool:
    """Whether tensors have the names of that library."""
    return MARK in tensors.found


def from_transformers(tensors: Tensors) -> Tensors:
    """The same tensors by open_clip's names, and in its forms."""
    named = {our_name(name): tensor for name, tensor in tensors.found.items()}
    made: dict[str, Tensor] = {}
    for name, tensor in named.items():
        if name in TURNED and len(tensor.shape) == 2:
            made[name] = turned(tensor)
        elif f".{PARTS[0]}." in name:
            others = [name.replace(PARTS[0], part) for part in PARTS]
            made[name.replace(f"{PARTS[0]}.", "in_proj_")] = stacked([named[each] for each in others if each in named])
        elif not any(f".{part}." in name for part in PARTS[1:]):
            made[name] = tensor
    return Tensors(made, tensors.source)


def our_name(name: str) -> str:
    """One name of theirs as open_clip has it."""
    for theirs, ours in NAMES:
        name = re.sub(theirs, ours, name)
    return name


def turned(tensor: Tensor) -> Tensor:
    """A matrix the other way round."""

    def read() -> NDArray[np.generic]:
        return np.ascontiguousarray(tensor.read().T)

    return Tensor(tensor.shape[::-1], tensor.kind, read)


def stacked(parts: list[Tensor]) -> Tensor:
    """Tensors one below the other."""

    def read() -> NDArray[np.generic]:
        return np.concatenate([part.read() for part in parts])

    return Tensor((sum(part.shape[0] for part in parts), *parts[0].shape[1:]), parts[0].kind, read)


def as_open_clip(config: Mapping[str, Any], preprocessor: Mapping[str, Any], where: str) -> dict[str, Any]:
    """What `config.json` and `preprocessor_config.json` tell, as open_clip's configuration has it; nothing of other models'."""
    if config.get("model_type") != "clip":
        return {}
    told = {dict(config.get(f"{tower}_config") or {}).get("hidden_act", "quick_gelu") for tower in ("vision", "text")}
    if len(told) > 1 or not told <= {"gelu", "quick_gelu"}:
        raise WeightsError(
            f"the configuration of {where} asks for {' and '.join(sorted(told))}: no template has such activations"
        )
    found: dict[str, Any] = {"model_cfg": {"quick_gelu": told == {"quick_gelu"}}}
    if "image_mean" in preprocessor and "image_std" in preprocessor:
        found["preprocess_cfg"] = {"mean": preprocessor["image_mean"], "std": preprocessor["image_std"]}
    return found
