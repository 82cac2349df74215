"""The dense methods on an attention pool against the oracle, in float64; Grad-CAM and Grad-ECLIP against autograd."""

from __future__ import annotations

from collections.abc import Callable

import open_clip.modified_resnet
import pytest
import torch
from torch import Tensor

from engine.heads import Head as Switches
from engine.methods import head_of
from export.dense_resnet import CellsHead, pool_at
from export.encoders import FoldedAttentionPool
from tests import oracle_dense as oracle

GRID = (3, 3)


@pytest.fixture(scope="module")
def original() -> torch.nn.Module:
    torch.manual_seed(0)
    pool = open_clip.modified_resnet.AttentionPool2d(3, 64, 4, 24).double()
    for parameter in pool.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return pool


@pytest.fixture(scope="module")
def rows() -> Tensor:
    return torch.rand(9, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def run(switches: Switches, original: torch.nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
    found: tuple[Tensor, Tensor] = CellsHead(FoldedAttentionPool(original), original, switches, GRID)(rows)
    return found


FEATURES: dict[str, tuple[Switches, Callable[[oracle.Pool, Tensor], Tensor]]] = {
    "maskclip": (head_of("maskclip"), oracle.pool_maskclip),
    "surgery": (head_of("surgery"), oracle.pool_surgery),
    "naclip": (head_of("naclip"), lambda pool, rows: oracle.pool_naclip(pool, rows, GRID)),
}


@pytest.mark.parametrize("name", FEATURES)
def test_features(name: str, original: torch.nn.Module, rows: Tensor) -> None:
    switches, by_formula = FEATURES[name]
    ours, embedding = run(switches, original, rows)
    pool = oracle.Pool.of(original)
    torch.testing.assert_close(ours, by_formula(pool, rows), rtol=0, atol=1e-7 if name == "naclip" else 1e-12)
    torch.testing.assert_close(embedding, pool.embedding(rows), rtol=0, atol=1e-12)


@pytest.mark.parametrize("switches", [head_of("grad-cam"), head_of("grad-eclip")], ids=["grad-cam", "grad-eclip"])
def test_gradients_are_autograd_s(switches: Switches, original: torch.nn.Module, rows: Tensor) -> None:
    by_autograd = oracle.pool_grad_cam if switches == head_of("grad-cam") else oracle.pool_grad_eclip
    features, _ = run(switches, original, rows)
    pool = oracle.Pool.of(original)
    for text in oracle.unit(torch.randn(4, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))):
        wanted = by_autograd(pool, rows, text)
        assert float(wanted.max()) > 1e-4
        torch.testing.assert_close((features @ text).relu(), wanted, rtol=0, atol=1e-9)


def test_positions_are_spread_over_another_grid(original: torch.nn.Module) -> None:
    pool = FoldedAttentionPool(original)
    other = pool_at(pool, GRID, (6, 6))
    assert other.position.shape == (37, 64)
    assert other.value_weight is pool.value_weight
    assert pool_at(pool, GRID, GRID) is pool
