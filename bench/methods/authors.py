"""The authors' own code of dense methods, out of clones of their repositories and on our weights; none of it is in here.

`python -m bench.methods authors FOLDER` compares them with ours; `speed --authors FOLDER` times them beside ours.
`FOLDER/NACLIP` is a clone of sinahmr/NACLIP, and so on; a row whose clone is not there is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from open_clip.transformer import QuickGELU
from torch import Tensor, nn
from torch.nn import functional as F

from bench.methods.peers import seeded
from engine.methods import head_of
from export.dense_graphs import made_head
from export.transformer import Block, Head

Look = Callable[[Tensor], Tensor]  # a picture `(1, 3, R, R)` to unit features of its patches `(L, n, D)`


@dataclass(frozen=True)
class Repository:
    """Where a method's code is, and how it is called."""

    method: str
    name: str  # owner/name and commit, of which the folder has the name
    look: Callable[[Any, Tensor], Tensor]  # their tower and a picture to features of patches
    place: str = "clip"  # of `model.py`, a changed copy of OpenAI's
    module: str = "model"
    options: dict[str, Any] = field(default_factory=dict)  # attributes of their tower

    @property
    def folder(self) -> str:
        """The name of the clone."""
        return self.name.partition("/")[2].partition(" ")[0]

    def opened(self, folder: Path, visual: Any) -> Look:  # noqa: ANN401 - open_clip's modules carry no types
        """Their tower with our weights."""
        module = module_of(folder / self.folder / self.place, self.module)
        module.LayerNorm = nn.LayerNorm  # theirs rounds to float32
        first = visual.transformer.resblocks[0]
        sizes = (visual.image_size[0], visual.patch_size[0], first.ln_1.weight.shape[0], len(visual.transformer.resblocks))
        heads, dim = first.attn.num_heads, visual.proj.shape[1]
        if self.module == "transformer":  # a changed copy of open_clip's
            act = QuickGELU if isinstance(first.mlp.gelu, QuickGELU) else nn.GELU
            tower = module.VisionTransformer(*sizes, heads, 4.0, output_dim=dim, act_layer=act)
        else:
            tower = module.VisionTransformer(*sizes, heads, dim)
        tower.load_state_dict(visual.state_dict(), assign=True)  # the very weights, not copies
        tower.eval().__dict__.update(self.options)

        @torch.no_grad()
        def look(picture: Tensor) -> Tensor:
            return F.normalize(self.look(tower, picture), dim=-1)

        return look


def module_of(place: Path, name: str) -> Any:  # noqa: ANN401
    """A module of theirs, without running the package that it lies in: other parts of that need what is not installed."""
    package = f"theirs_{place.parent.name}_{place.name}".replace("-", "_").replace(".", "_")
    sys.modules[package] = ModuleType(package)
    sys.modules[package].__path__ = [str(place)]
    for spare in ("pamr", "clip", "clip_utils"):  # imported by what is not run
        sys.modules.setdefault(spare, ModuleType(spare)).__dict__.setdefault("PAMR", object)
    sys.modules["clip_utils"].__path__ = [str(place)]
    return import_module(f"{package}.{name}")


def set_and_look(*params: Any, **options: Any) -> Callable[[Any, Tensor], Tensor]:  # noqa: ANN401
    """Set a tower's parameters, then look with options, and leave the class token out."""

    def look(tower: Any, picture: Tensor) -> Tensor:  # noqa: ANN401
        if params:
            tower.set_params(*params)
        found: Tensor = tower(picture, return_all=True, **options)[:, 1:]
        return found

    return look


NACLIP, CLEARCLIP = "sinahmr/NACLIP 0cac3a6", "mc-lan/ClearCLIP ad68a40"


def clearclip(kind: str, ignore_residual: bool) -> Callable[[Any, Tensor], Tensor]:
    """One of the heads that ClearCLIP's repository has."""
    return lambda tower, picture: tower(picture, model_type=kind, ignore_residual=ignore_residual)


ROWS = (
    Repository("naclip", NACLIP, set_and_look("reduced", "naclip", 5.0)),
    Repository("tokens", NACLIP, set_and_look("vanilla", "vanilla", 5.0)),
    Repository("sclip", "wangf3014/SCLIP b56bd30", set_and_look()),
    Repository("clearclip", CLEARCLIP, clearclip("ClearCLIP", True), "open_clip", "transformer"),
    Repository("maskclip", CLEARCLIP, clearclip("MaskCLIP", False), "open_clip", "transformer"),
    Repository("maskclip-bare", CLEARCLIP, clearclip("MaskCLIP", True), "open_clip", "transformer"),
    Repository(
        "resclip",
        "yvhangyang/ResCLIP 0e085f7",
        set_and_look("wo_resi", "naclip", 5.0, use_rcs=True, use_sfr=False, attn_rcs_weights=[2.0, 0.4]),
    ),
    Repository("itaclip", "m-arda-aydn/ITACLIP 521a33c", set_and_look(device="cpu", attn_self=True)),
    Repository("sc-clip", "SuleBai/SC-CLIP 0417ba9", lambda tower, picture: tower(picture, return_all=True)),
    Repository(
        "sfp",
        "Kimsure/SFP 2804f5b",
        lambda tower, picture: tower(picture, return_each=True),
        "SFP_ICCV/clip",
        options={"pm": "SOM"},
    ),
    Repository("cliptrase", "leaves162/CLIPtrase 2b7de61", lambda tower, picture: tower(picture)[0][:, 1:], "clip_utils"),
)


def authors(folder: Path, visual: Any) -> Iterator[tuple[Repository, Look]]:  # noqa: ANN401
    """Every row whose clone is there, opened on the weights of an open_clip transformer."""
    for row in ROWS:
        if (folder / row.folder).is_dir():
            yield row, row.opened(folder, visual)


@torch.no_grad()
def differences(folder: Path) -> Iterator[str]:
    """The largest difference of every row from ours: a small seeded transformer, float64, a random picture."""
    model = seeded()
    visual, picture = model.visual, torch.rand(1, 3, 224, 224, dtype=torch.float64) * 4 - 2
    blocks, head = [Block(block) for block in visual.transformer.resblocks], Head(visual.ln_post, visual.proj)
    for row, look in authors(folder, visual):
        ours = made_head(head_of(row.method), blocks, head, tuple(visual.grid_size)).eval()(visual._embeds(picture)[0])[0]
        difference, largest = float((ours - look(picture)[0]).abs().max()), float(ours.abs().max())
        yield f"{row.method:14} {row.name:32} largest difference {difference:.2g}, largest value {largest:.2g}"
