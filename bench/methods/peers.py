"""`python -m bench.methods.peers FOLDER`: GEM and LeGrad by their authors' packages against ours, same weights and picture.

The packages want an older open_clip than this project, so they lie in a folder of their own and run in a process of their own:
`pip install --no-deps --target FOLDER gem_torch==1.0.1 legrad_torch==1.1 open_clip_torch==2.24.0 einops timm matplotlib`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

CONFIG: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 224, "patch_size": 16, "layers": 12, "width": 128, "head_width": 64},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
    "quick_gelu": True,
}


def seeded() -> Any:  # noqa: ANN401 - open_clip's modules carry no types
    """A small model whose numbers are random and large enough to tell methods apart."""
    from open_clip.model import CLIP

    torch.manual_seed(0)
    model = CLIP(**CONFIG).double().eval()
    with torch.no_grad():
        for name, value in model.visual.named_parameters():
            if value.ndim > 1:
                value.copy_(torch.randn_like(value) * 1.4 / value[0].numel() ** 0.5)
            else:
                value.copy_(torch.randn_like(value) * 0.1 + ("ln" in name and "weight" in name))
    return model


@torch.no_grad()
def ours(model: Any, picture: Tensor, texts: Tensor) -> dict[str, Tensor]:  # noqa: ANN401
    """Features of GEM and maps of LeGrad by our own modules, in float64."""
    from engine.methods import head_of
    from export.dense_graphs import made_head
    from export.prompted import LegradGraph
    from export.transformer import Block, Head

    blocks = [Block(block) for block in model.visual.transformer.resblocks]
    head = Head(model.visual.ln_post, model.visual.proj)
    stream = model.visual._embeds(picture)[0]
    features = made_head(head_of("gem"), blocks, head, (14, 14))(stream)[0]
    for block in blocks[:-2]:
        stream = block(stream)
    return {"gem": features, "legrad": scaled(enlarged(LegradGraph(blocks[-2:], head, (14, 14))(stream, texts)))}


def theirs(model: Any, picture: Tensor, texts: Tensor) -> dict[str, Tensor]:  # noqa: ANN401
    """The same by the authors' packages."""
    import copy

    from gem.gem_wrapper import GEMWrapper
    from legrad.wrapper import LeWrapper

    torch.set_default_dtype(torch.float64)
    with torch.no_grad():
        features, _ = GEMWrapper(copy.deepcopy(model), lambda words: None).model.visual(picture)
    wrapped = LeWrapper(model, layer_index=-2)
    maps = [wrapped.compute_legrad_clip(text[None], picture)[0, 0].detach() for text in texts]
    return {"gem": F.normalize(features[0, 1:], dim=-1), "legrad": torch.stack(maps)}


def enlarged(maps: Tensor) -> Tensor:
    """Maps on the picture's pixels, as the authors enlarge them."""
    return F.interpolate(maps[None], scale_factor=16, mode="bilinear")[0]


def scaled(maps: Tensor) -> Tensor:
    """Each map brought to [0, 1]."""
    low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - low) / (high - low)


def main() -> None:
    """Run both sides, each in its process, and print the largest differences."""
    if len(sys.argv) == 3:
        given = torch.load(sys.argv[2])
        model = seeded()
        model.load_state_dict(given["weights"], strict=False)
        torch.save(theirs(model, given["picture"], given["texts"]), sys.argv[2])
        return
    model = seeded()
    picture = torch.rand(1, 3, 224, 224, dtype=torch.float64) * 4 - 2
    texts = F.normalize(torch.randn(4, 64, dtype=torch.float64), dim=-1)
    with tempfile.TemporaryDirectory() as folder:
        shared = Path(folder) / "shared.pt"
        torch.save({"weights": model.state_dict(), "picture": picture, "texts": texts}, shared)
        search = os.pathsep.join([sys.argv[1], str(Path(__file__).parents[2])])
        subprocess.run(
            [sys.executable, "-m", "bench.methods.peers", "child", str(shared)],
            check=True,
            env={**os.environ, "PYTHONPATH": search},
        )
        other = torch.load(shared)
    for name, values in ours(model, picture, texts).items():
        difference, largest = float((values - other[name]).abs().max()), float(values.abs().max())
        print(f"{name}: largest difference {difference:.2g}, largest value {largest:.2g}")


if __name__ == "__main__":
    main()
