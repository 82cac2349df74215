"""From a row of `engine.methods` and a model to the graph that looks at pictures for it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from engine.heads import Head as Switches
from engine.manifest import MethodInfo
from engine.methods import Method, Tower, refuse_other_tower
from export.dense import DenseGraph, TokenHead
from export.dense_resnet import CellsHead, PoolGraph, pool_at
from export.encoders import ResNetEncoder, ViTEncoder
from export.encoders import Tower as Visual
from export.gradients import ClassTokenHead, TextSpanHead
from export.graphs import Pixels
from export.layers import AffinityGraph, LayersHead
from export.prompted import ChannelsGraph, ClipEsGraph, GradCamPlusGraph, LegradGraph, RowsGraph, StreamGraph
from export.similar import SimilarHead
from export.transformer import Block, Head, at_side
from runtime.errors import ArgumentError

STRIDE = 32  # pixels of a ResNet's cell


@dataclass(frozen=True)
class Looker:
    """A graph that looks at a picture for one method: the module, the side of its square, and the names of what it gives.

    There is none for a method of masked copies, whose words go into a graph that starts from the picture's maps.
    """

    module: nn.Module | None
    side: int
    outputs: tuple[str, ...]
    info: MethodInfo
    asks: nn.Module | None = None  # the graph that words go into, where the method has one


def tower_of(encoder: nn.Module) -> Tower:
    """Which kind of image tower this is."""
    return "resnet" if isinstance(encoder, ResNetEncoder) else "vit"


def looker(
    method: Method, encoder: ResNetEncoder | ViTEncoder, visual: Visual, pixels: Pixels, dtype: torch.dtype, side: int
) -> Looker:
    """Make the graph of a method for squares of a side; raises `ArgumentError` where it is not defined."""
    refuse_other_tower(method, tower_of(encoder))
    if isinstance(encoder, ResNetEncoder):
        return resnet_looker(method, encoder, visual, pixels, dtype, side)
    return transformer_looker(method, encoder.visual, pixels, dtype, side)


def resnet_looker(
    method: Method, encoder: ResNetEncoder, visual: Visual, pixels: Pixels, dtype: torch.dtype, side: int
) -> Looker:
    """The graph of a method on a ResNet."""
    if side % STRIDE:
        raise ArgumentError(f"`--side` must be a multiple of {STRIDE} pixels for ResNets, found {side}")
    if method.head is None:
        raise ArgumentError(f"method `{method.name}` has no graph of its own")
    trained = visual.image_size if isinstance(visual.image_size, int) else visual.image_size[0]
    grid_hw = (side // STRIDE, side // STRIDE)
    if method.family == "masked":
        if side != trained:
            raise ArgumentError(f"method `{method.name}` ranks the maps of every bundle, of {trained} pixels: leave `--side` out")
        info = MethodInfo(side, *grid_hw, 1, encoder.pool.position.shape[1], {})
        return Looker(None, side, ("slopes",), info, ChannelsGraph(encoder.pool))
    if method.family == "prompted":
        made = RowsGraph(pixels, encoder, dtype)
        asks = GradCamPlusGraph(pool_at(encoder.pool, (trained // STRIDE, trained // STRIDE), grid_hw), grid_hw)
        channels = encoder.pool.position.shape[1]
        return Looker(made, side, ("stream", "embedding"), MethodInfo(side, *grid_hw, 1, channels, {}), asks)
    pool = pool_at(encoder.pool, (trained // STRIDE, trained // STRIDE), grid_hw)
    cells = CellsHead(pool, visual.attnpool, method.head, grid_hw)
    module = PoolGraph(pixels, encoder, cells, grid_hw, dtype)
    return Looker(module, side, ("features", "embedding"), MethodInfo(side, *grid_hw, 1, 0, {}))


def transformer_looker(method: Method, visual: Visual, pixels: Pixels, dtype: torch.dtype, side: int) -> Looker:
    """The graph of a method on a vision transformer."""
    refuse_other_pool(method, visual)
    patch = visual.patch_size[0]
    if side % patch:
        raise ArgumentError(f"`--side` must be a multiple of the patch of {patch} pixels, found {side}")
    tower = at_side(visual, side)
    blocks = [Block(block) for block in tower.transformer.resblocks]
    head = Head(tower.ln_post, tower.proj)
    grid_hw = (side // patch, side // patch)
    if method.head is None:
        raise ArgumentError(f"method `{method.name}` has no graph of its own")
    switches = method.head.fitted(len(blocks))
    if switches.kind == "affinity":
        affinity = AffinityGraph(pixels, tower, blocks, switches.blocks, dtype)
        return Looker(affinity, side, ("affinity",), MethodInfo(side, *grid_hw, 1, 0, {}))
    if method.family == "prompted":
        return stream_looker(switches, (pixels, tower, blocks, head), MethodInfo(side, *grid_hw, 1, blocks[0].width, {}), dtype)
    module = DenseGraph(pixels, tower, made_head(switches, blocks, head, grid_hw), dtype)
    if switches.kind == "layers":
        return Looker(module, side, ("features", "embedding", "attention"), MethodInfo(side, *grid_hw, len(blocks), 0, {}))
    return Looker(module, side, ("features", "embedding"), MethodInfo(side, *grid_hw, 1, 0, {}))


def stream_looker(
    switches: Switches, model: tuple[Pixels, Visual, list[Block], Head], info: MethodInfo, dtype: torch.dtype
) -> Looker:
    """The graphs of a method whose words go through the last blocks of a transformer."""
    _, _, blocks, head = model
    grid_hw = (info.height, info.width)
    if switches.kind == "clip-es":
        looks, gives = StreamGraph(*model, 1, switches.blocks, dtype), ("stream", "embedding", "patches", "affinity")
        return Looker(looks, info.side, gives, info, ClipEsGraph(blocks[-1], head, grid_hw))
    looks = StreamGraph(*model, switches.blocks, 0, dtype)
    return Looker(looks, info.side, ("stream", "embedding"), info, LegradGraph(blocks[-switches.blocks :], head, grid_hw))


def made_head(switches: Switches, blocks: list[Block], head: Head, grid_hw: tuple[int, int]) -> nn.Module:
    """The module that follows the switches of a row."""
    if switches.similarity is not None:
        return SimilarHead(blocks, head, switches, switches.similarity, grid_hw)
    if switches.kind == "layers":
        return LayersHead(blocks, head)
    if switches.kind in ("grad-eclip", "grad-cam"):
        return ClassTokenHead(blocks, head, gated=switches.kind == "grad-eclip")
    if switches.kind == "textspan":
        return TextSpanHead(blocks, head)
    return TokenHead(blocks, head, switches, grid_hw)


def refuse_other_pool(method: Method, visual: Visual) -> None:
    """Refuse towers whose embedding is not read from the class token, as all but the affinity take it to be."""
    if method.family == "refinement":
        return
    if visual.attn_pool is not None:
        raise ArgumentError(
            f"method `{method.name}` projects patches as the class token is projected, and this model's embedding comes out of a "
            "pool of attention (CoCa), before which patches have no place among words; ask by `vl-score` or `score-cam`"
        )
    if visual.pool_type != "tok" or visual.final_ln_after_pool:
        raise ArgumentError(f"method `{method.name}` reads the class token, and this model's embedding is pooled in another way")
