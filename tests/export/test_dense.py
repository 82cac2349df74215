"""The dense heads against the oracle and the golden values, in float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.dense import Words, layers
from engine.heads import Head as Switches
from engine.methods import head_of
from export.dense_graphs import made_head
from export.layers import AffinityGraph
from export.similar import SimilarHead
from export.transformer import Block, Head
from tests import oracle_dense as oracle
from tests.golden import CLASS_COSINE, golden, tower, wanted

MODEL, STREAM, TEXTS = golden()


def like(switches: Switches, **changes: object) -> Switches:
    """Switches with a `Similarity`, its blocks those of the golden values."""
    assert switches.similarity is not None
    return replace(switches, similarity=replace(switches.similarity, before=2, after=1, summed=(1, 2), **changes))


# The tiny model has four blocks: what is mixed in comes from the second and third, two streams run through the last two.
MIXED, LAST = (2, 3), 2
GOLDEN_DIGITS = 6e-6
ROWS: dict[str, tuple[Switches, Callable[[], Tensor]]] = {
    "maskclip": (head_of("maskclip"), lambda: oracle.maskclip(MODEL, STREAM)),
    "maskclip-bare": (head_of("maskclip-bare"), lambda: oracle.maskclip_bare(MODEL, STREAM)),
    "sclip": (head_of("sclip"), lambda: oracle.sclip(MODEL, STREAM)),
    "clearclip": (head_of("clearclip"), lambda: oracle.clearclip(MODEL, STREAM)),
    "naclip": (head_of("naclip"), lambda: oracle.naclip(MODEL, STREAM)),
    "resclip": (replace(head_of("resclip"), mixed=MIXED), lambda: oracle.resclip(MODEL, STREAM, MIXED)),
    "itaclip": (replace(head_of("itaclip"), mixed=MIXED), lambda: oracle.itaclip(MODEL, STREAM, MIXED)),
    "cliptrase": (head_of("cliptrase"), lambda: oracle.cliptrase(MODEL, STREAM)),
    "surgery": (replace(head_of("surgery"), blocks=LAST), lambda: oracle.surgery(MODEL, STREAM, LAST)),
    "gem": (replace(head_of("gem"), blocks=LAST), lambda: oracle.gem(MODEL, STREAM, LAST)),
    "sc-clip": (
        like(head_of("sc-clip"), neighbours=3),
        lambda: oracle.resembling(MODEL, STREAM, k=3, pre=2, post=1, multi=(1, 2)),
    ),
    "sfp": (like(head_of("sfp")), lambda: oracle.resembling(MODEL, STREAM, pre=2, post=1, multi=(1, 2), sfp=True)),
}


def features(switches: Switches) -> Tensor:
    """Features of the golden model by the product."""
    return run(switches)[0]


@torch.no_grad()
def run(switches: Switches, model: oracle.Model = MODEL) -> tuple[Tensor, ...]:
    blocks, norm, projection = tower(model)
    found: tuple[Tensor, ...] = made_head(switches, [Block(block) for block in blocks], Head(norm, projection), (3, 3))(STREAM)
    return found


def scaled(plane: Tensor) -> Tensor:
    return (plane - plane.min()) / (plane.max() - plane.min())


def close(ours: Tensor, theirs: Tensor, within: float = 1e-12) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=within)


@pytest.mark.parametrize("name", ROWS)
def test_heads_are_the_oracle_s_and_golden(name: str) -> None:
    switches, by_formula = ROWS[name]
    ours, theirs = features(switches), by_formula()
    close(ours, theirs)
    if name != "sfp":  # which has none
        close(theirs @ TEXTS[0], wanted(name), GOLDEN_DIGITS)


def test_vanilla_tokens_and_the_class_token() -> None:
    ours, embedding = run(head_of("tokens"))
    close(ours, oracle.tokens(MODEL, STREAM))
    assert float(embedding / embedding.norm() @ TEXTS[0]) == pytest.approx(CLASS_COSINE, abs=6e-6)


EQUAL = {
    "CLIPtrase without values is SCLIP": (replace(head_of("cliptrase"), terms=("qq", "kk")), head_of("sclip")),
    "NACLIP without neighbours, of queries, is ClearCLIP": (
        replace(head_of("naclip"), nearby=0.0, terms=("qq",)),
        head_of("clearclip"),
    ),
    "GEM of raw values alone is CLIP Surgery": (
        replace(head_of("gem"), blocks=LAST, unit=False, rounds=0, terms=("vv",)),
        replace(head_of("surgery"), blocks=LAST),
    ),
    "RCS that mixes nothing in is NACLIP": (replace(head_of("resclip"), mixed=MIXED, share=0.0, gain=1.0), head_of("naclip")),
}


@pytest.mark.parametrize("name", EQUAL)
def test_heads_that_must_be_equal(name: str) -> None:
    one, other = EQUAL[name]
    close(features(one), features(other))


@torch.no_grad()
def test_sc_clip_where_nothing_resembles_anything_is_half_its_own_values() -> None:
    blocks, norm, projection = tower(MODEL)
    alone = replace(like(head_of("sc-clip")), residual="none")
    assert alone.similarity is not None
    # Only a patch itself is above the floor; both branches take what enters the last block, and nothing of the class token.
    resembling = replace(alone.similarity, floor=1 - 1e-6, floored=True, class_share=0.0, summed=(3,))
    head = SimilarHead([Block(block) for block in blocks], Head(norm, projection), alone, resembling, (3, 3))
    head.neighbours.zero_()  # no outlier is repaired
    layer, patches = MODEL.layers[-1], oracle.streams(MODEL, STREAM)[-2][1:]
    _, keys, values = oracle.qkv(MODEL, layer, patches)
    both = 2 * oracle.out(layer, (oracle.alike(keys, keys) @ values + values) / 2)  # branches, which are alike
    close(head(STREAM)[0], oracle.unit(oracle.project(MODEL, both)), 1e-10)


@pytest.mark.parametrize("quick", [True, False], ids=["QuickGELU", "GELU"])
def test_grad_eclip_is_autograd_s(quick: bool) -> None:
    model = replace(MODEL, quick=quick)
    maps = (run(head_of("grad-eclip"), model)[0] @ TEXTS.T).relu()
    for text, plane in zip(TEXTS, maps.T, strict=True):
        close(plane, oracle.grad_eclip(model, STREAM, text), 1e-9)
    if quick:
        close(maps[:, 0] / maps[:, 0].max(), wanted("grad-eclip"), GOLDEN_DIGITS)


def test_textspan_adds_up_to_the_embedding() -> None:
    plane = run(head_of("textspan"))[0] @ TEXTS[0]
    theirs, total = oracle.textspan(MODEL, STREAM, TEXTS[0])
    close(plane, theirs)
    close(scaled(plane), wanted("textspan"), GOLDEN_DIGITS)
    assert float(total) == pytest.approx(CLASS_COSINE, abs=GOLDEN_DIGITS)


def test_cliper_s_layers() -> None:
    sets, _, attention = run(head_of("cliper"))
    texts = TEXTS.numpy()
    ours = torch.from_numpy(layers(sets.numpy(), Words(texts[:2], texts[2:], texts[0]), 10.0, attention.numpy()))
    close(ours.double(), oracle.cliper(MODEL, STREAM, TEXTS, 2, 10.0), 1e-6)  # asked in float32
    close(ours[0].double(), wanted("cliper"), GOLDEN_DIGITS)


@torch.no_grad()
def test_affinity() -> None:
    blocks, _, _ = tower(MODEL)
    graph = AffinityGraph(None, None, [Block(block) for block in blocks], 4, torch.float64)
    ties = graph.affinity(STREAM)
    close(ties, oracle.affinity(MODEL, STREAM, 4))
    refined = ties @ scaled(wanted("clip-es"))
    close(refined / refined.max(), wanted("clip-es-refined"), 2e-5)  # from five digits
