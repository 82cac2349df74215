"""The methods whose words go into a graph, against autograd in the oracle and the golden values, in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import open_clip.modified_resnet
import pytest
import torch
from torch import Tensor

from engine.dense import Words, against
from engine.methods import head_of
from export.dense_graphs import made_head
from export.encoders import FoldedAttentionPool
from export.prompted import ClipEsGraph, GradCamPlusGraph, LegradGraph
from export.transformer import Block, Head
from tests import oracle_dense as oracle
from tests.golden import golden, tower, wanted

MODEL, STREAM, TEXTS = golden()
KAPPA = 10.0


def parts(model: oracle.Model) -> tuple[list[Block], Head]:
    blocks, norm, projection = tower(model)
    return [Block(block) for block in blocks], Head(norm, projection)


def scaled(plane: Tensor) -> Tensor:
    return (plane - plane.min()) / (plane.max() - plane.min())


@pytest.fixture(params=[True, False], ids=["QuickGELU", "GELU"])
def model(request: pytest.FixtureRequest) -> oracle.Model:
    return replace(MODEL, quick=request.param)


@torch.no_grad()
def legrad(model: oracle.Model) -> Tensor:
    blocks, head = parts(model)
    return LegradGraph(blocks[2:], head, (3, 3))(oracle.streams(model, STREAM)[2], TEXTS).flatten(1)


def test_legrad_is_autograd_s(model: oracle.Model) -> None:
    for text, plane in zip(TEXTS, legrad(model), strict=True):
        torch.testing.assert_close(plane, oracle.legrad(model, STREAM, text), rtol=0, atol=1e-9)


def test_legrad_is_golden() -> None:
    torch.testing.assert_close(scaled(legrad(MODEL)[0]), wanted("legrad"), rtol=0, atol=6e-6)


@torch.no_grad()
def clip_es(model: oracle.Model) -> Tensor:
    blocks, head = parts(model)
    streams = oracle.streams(model, STREAM)
    patches = oracle.unit(oracle.project(model, streams[-1])[1:].mean(0))
    texts = TEXTS.numpy().astype(np.float32)
    directions = against(Words(texts[:1], texts[1:], texts[0]), patches.numpy().astype(np.float32), KAPPA)
    return ClipEsGraph(blocks[-1], head, (3, 3))(streams[3], torch.from_numpy(directions).double()).flatten()


def test_clip_es_is_autograd_s_softmax(model: oracle.Model) -> None:
    by_autograd = oracle.clip_es(model, STREAM, TEXTS, KAPPA)
    torch.testing.assert_close(scaled(clip_es(model)), scaled(by_autograd), rtol=0, atol=1e-6)  # directions are float32


def test_clip_es_is_golden() -> None:
    torch.testing.assert_close(scaled(clip_es(MODEL)), wanted("clip-es"), rtol=0, atol=6e-6)


def test_grad_cam_of_all_texts_at_once_is_autograd_s(model: oracle.Model) -> None:
    blocks, head = parts(model)
    with torch.no_grad():
        maps = (made_head(head_of("grad-cam"), blocks, head, (3, 3))(STREAM)[0] @ TEXTS.T).relu()
    for text, plane in zip(TEXTS, maps.T, strict=True):
        torch.testing.assert_close(plane, oracle.grad_cam(model, STREAM, text), rtol=0, atol=1e-9)


def test_grad_cam_plus_is_autograd_s() -> None:
    torch.manual_seed(0)
    original = open_clip.modified_resnet.AttentionPool2d(3, 64, 4, 24).double()
    for parameter in original.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    rows, texts = torch.rand(9, 64, dtype=torch.float64), oracle.unit(torch.randn(4, 24, dtype=torch.float64))
    with torch.no_grad():
        maps = GradCamPlusGraph(FoldedAttentionPool(original), (3, 3))(rows, texts).flatten(1)
    for text, plane in zip(texts, maps, strict=True):
        by_autograd = oracle.pool_grad_cam_plus(oracle.Pool.of(original), rows, text)
        torch.testing.assert_close(plane / by_autograd.max(), by_autograd / by_autograd.max(), rtol=0, atol=1e-9)
