"""Small open_clip model configurations, and the sample pictures."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parent.parent
PICTURES = ROOT / "export" / "pictures"

TEXT: dict[str, Any] = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2}

# 512 maps of 3 x 3.
TINY_RN: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 96, "layers": [1, 1, 1, 1], "width": 16},
    "text_cfg": TEXT,
}

# 3 blocks, 2 heads, maps of 4 x 4.
TINY_VIT: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "patch_size": 16, "layers": 3, "width": 64, "head_width": 32},
    "text_cfg": TEXT,
}

# The same image tower with CoCa's pool; its texts have a class token behind them.
TINY_COCA: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {**TINY_VIT["vision_cfg"], "attentional_pool": True, "attn_pooler_heads": 2, "output_tokens": True},
    "text_cfg": {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
    "multimodal_cfg": {**TEXT, "context_length": 76, "layers": 1, "attn_pooler_heads": 2},
    "custom_text": True,
}


def changed(config: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A configuration with the value at a path like `text_cfg/width` replaced or added."""
    config = copy.deepcopy(config)
    *folders, last = path.split("/")
    place = config
    for folder in folders:
        place = place[folder]
    place[last] = value
    return config


def write_config(path: Path, config: dict[str, Any]) -> Path:
    """Write a configuration as open_clip keeps them."""
    path.write_text(json.dumps(config), encoding="utf-8")
    return path


def photo(name: str) -> NDArray[np.uint8]:
    """A sample picture (H, W, 3): `astronaut`, `cat`, `coffee` or `rocket`."""
    from runtime.pictures import read_picture

    return read_picture(PICTURES / f"{name}.jpg")
