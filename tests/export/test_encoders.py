"""The rewritten towers are the towers they were made from."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import pytest
import torch
from open_clip.modified_resnet import AttentionPool2d, ModifiedResNet
from open_clip.transformer import LayerNormFp32
from torch import Tensor, nn

from export.encoders import FoldedAttentionPool, ResNetEncoder, ViTEncoder, fold_batch_norms, let_go, to_half

if TYPE_CHECKING:
    from export.weights import Loaded


@pytest.fixture
def double_softmax(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pool's softmax is float32 whatever the tower is; here it must not limit the comparison."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)


def random_pool(grid: int, width: int, heads: int, dim: int) -> AttentionPool2d:
    """An attention pool whose every parameter matters, biases included."""
    torch.manual_seed(grid)
    pool = AttentionPool2d(grid, width, heads, dim).double()
    for parameter in pool.parameters():
        nn.init.normal_(parameter, std=0.2)
    return pool


@pytest.mark.usefixtures("double_softmax")
@pytest.mark.parametrize(("grid", "width", "heads", "dim"), [(3, 64, 2, 32), (7, 128, 4, 16), (1, 32, 1, 8)])
def test_the_folded_pool_is_the_pool(grid: int, width: int, heads: int, dim: int) -> None:
    pool = random_pool(grid, width, heads, dim)
    maps = torch.rand(5, width, grid, grid, dtype=torch.float64) * 3
    with torch.no_grad():
        expected, found = pool(maps), FoldedAttentionPool(pool)(maps)
    assert found.shape == (5, dim)
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()


@pytest.mark.usefixtures("double_softmax")
@pytest.mark.parametrize("part", ["positional_embedding", "q_proj.bias", "v_proj.bias", "c_proj.bias"])
def test_the_comparison_sees_every_part_of_the_pool(part: str) -> None:
    pool = random_pool(3, 64, 2, 32)
    folded = FoldedAttentionPool(copy.deepcopy(pool))
    with torch.no_grad():
        pool.get_parameter(part).add_(0.01)
        maps = torch.rand(2, 64, 3, 3, dtype=torch.float64)
        assert (folded(maps) - pool(maps)).abs().max() > 1e-6


def test_the_pools_softmax_survives_half_precision() -> None:
    """Logits of 100 differ by less than half precision resolves; the weights must not become equal or NaN."""
    pool = FoldedAttentionPool(random_pool(3, 64, 2, 32).float()).half()
    assert torch.isfinite(pool(torch.rand(2, 64, 3, 3).half() * 100)).all()


def settled(visual: nn.Module) -> nn.Module:
    """A tower in double precision whose BatchNorms all do something."""
    visual = copy.deepcopy(visual).double().eval()
    torch.manual_seed(1)
    for norm in (part for part in visual.modules() if isinstance(part, nn.BatchNorm2d)):
        nn.init.normal_(norm.running_mean, std=0.1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
    return visual


@torch.no_grad()
def test_folded_batch_norms_change_nothing(loaded: Loaded) -> None:
    visual = settled(loaded.model.visual)
    folded = fold_batch_norms(copy.deepcopy(visual))
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    pixels = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    expected = visual(pixels)
    assert (folded(pixels) - expected).abs().max() <= 1e-12 * expected.abs().max()


@torch.no_grad()
def test_folding_leaves_the_original_alone(loaded: Loaded) -> None:
    before = {key: value.clone() for key, value in loaded.model.visual.state_dict().items()}
    to_half(ResNetEncoder(loaded.model.visual))
    after = loaded.model.visual.state_dict()
    assert all(torch.equal(before[key], after[key]) and before[key].dtype == after[key].dtype for key in before)


def test_only_a_rewritten_towers_own_weights_are_let_go(loaded: Loaded) -> None:
    visual = loaded.model.visual
    before = {key: value.clone() for key, value in visual.state_dict().items()}
    encoder = ResNetEncoder(visual)
    let_go(encoder, loaded.model)
    assert not any(tensor.numel() for tensor in encoder.parameters())
    assert all(torch.equal(before[key], value) for key, value in visual.state_dict().items())


def test_a_tower_that_is_the_models_own_keeps_its_weights(loaded_vit: Loaded) -> None:
    encoder = ViTEncoder(loaded_vit.model.visual, "query", 2)
    let_go(encoder, loaded_vit.model)
    assert all(tensor.numel() for tensor in encoder.parameters())


@pytest.mark.usefixtures("double_softmax")
@torch.no_grad()
def test_the_resnet_encoder_gives_the_closing_relu_and_the_embedding(loaded: Loaded) -> None:
    visual = settled(loaded.model.visual)
    assert isinstance(visual, ModifiedResNet)
    taps: list[Tensor] = []
    visual.layer4[-1].act3.register_forward_hook(lambda *found: taps.append(found[-1]))
    pixels = torch.randn(2, 3, 96, 96, dtype=torch.float64)
    expected = visual(pixels)
    encoder = ResNetEncoder(visual).eval()
    maps, embedding = encoder.maps_and_embedding(pixels)
    assert maps.shape == (2, 512, 3, 3)
    assert (maps - taps[0]).abs().max() <= 1e-12 * taps[0].abs().max()
    assert (embedding - expected).abs().max() <= 1e-11 * expected.abs().max()
    assert torch.equal(encoder(pixels), embedding)


@torch.no_grad()
def test_the_vit_encoder_reads_each_source_where_it_is(loaded_vit: Loaded) -> None:
    """Each source against a plain recomputation inside the untouched block 2 of 3."""
    visual = copy.deepcopy(loaded_vit.model.visual).double().eval()
    block, seen = visual.transformer.resblocks[1], {}
    block.register_forward_hook(lambda _, inputs, output: seen.update(before=inputs[0], after=output))
    pixels = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    expected = visual(pixels)
    normed = block.ln_1(seen["before"])[0]
    query, key, value = (normed @ block.attn.in_proj_weight.t() + block.attn.in_proj_bias).split(64, dim=1)
    heads = [((query[:1, p] @ key[:, p].t()) * 32**-0.5).softmax(dim=1)[0, 1:] for p in (slice(32), slice(32, 64))]
    planes = {
        "token": seen["after"][0, 1:].t(),
        "query": query[1:].t(),
        "key": key[1:].t(),
        "value": value[1:].t(),
        "qkv": torch.cat([part[1:].t() for part in (query, key, value)]),
        "attention": torch.stack(heads),
    }
    for source, plane in planes.items():
        maps, embedding = ViTEncoder(visual, source, 3).maps_and_embedding(pixels)
        per_block = len(plane)
        assert maps.shape == (1, 3 * per_block, 4, 4), source
        second = maps[0, per_block : 2 * per_block].reshape(per_block, 16)
        assert (second - plane).abs().max() < 1e-12, source
        assert (embedding - expected).abs().max() < 1e-12, source


def test_half_precision_keeps_layer_norms_in_float32(loaded_vit: Loaded) -> None:
    tower = to_half(copy.deepcopy(loaded_vit.model.visual))
    norms = [part for part in tower.modules() if isinstance(part, nn.LayerNorm)]
    assert len(norms) == 8
    assert all(isinstance(norm, LayerNormFp32) and norm.weight.dtype == torch.float32 for norm in norms)
    others = {name: value.dtype for name, value in tower.named_parameters() if ".ln_" not in f".{name}"}
    assert set(others.values()) == {torch.float16}
    assert torch.equal(tower.ln_pre.weight, loaded_vit.model.visual.ln_pre.weight)
