"""Where weights come from, and which activation they were trained with."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import huggingface_hub
import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file
from torch import nn

from export import sources
from export.backbones import empty_model, find_backbone, floats_of
from export.sources import find_source, source_key
from export.weights import load, preprocessing_of
from runtime.errors import WeightsError
from runtime.filling.hub import Fetched
from tests.configs import TINY_RN, TINY_VIT, write_config


def tiny(tmp_path: Path) -> Any:
    return find_backbone(str(write_config(tmp_path / "tiny.json", TINY_VIT)))


@pytest.mark.parametrize(
    ("backbone", "tag", "quick"),
    [
        ("RN50", "openai", True),
        ("ViT-B-16", "openai", True),
        ("ViT-L-14-336", "openai", True),
        ("ViT-B-16-quickgelu", "openai", True),
        ("ViT-B-16", "metaclip_400m", True),
        ("ViT-B-16", "dfn2b", True),
        ("ViT-B-16", "laion2b_s34b_b88k", False),
        ("ViT-H-14", "laion2b_s32b_b79k", False),
    ],
)
def test_tags_say_their_activation(backbone: str, tag: str, quick: bool) -> None:
    source = find_source(find_backbone(backbone), tag, None)
    assert (source.kind, source.name, source.quick_gelu) == ("tag", tag, quick)


@pytest.mark.parametrize(
    ("backbone", "tag", "activation"),
    [
        ("ViT-B-16", "openai", "gelu"),
        ("RN50", "openai", "gelu"),
        ("ViT-B-16", "laion2b_s34b_b88k", "quickgelu"),
        ("ViT-B-16-quickgelu", "laion2b_s34b_b88k", None),
    ],
)
def test_mismatched_activations_are_refused(backbone: str, tag: str, activation: Any) -> None:
    with pytest.raises(WeightsError, match=rf"`{tag}` of .* were trained with (Quick)?GELU, but (Quick)?GELU was asked.*refused"):
        find_source(find_backbone(backbone), tag, activation)


def test_an_asked_activation_that_fits_is_taken() -> None:
    assert find_source(find_backbone("RN50"), "openai", "quickgelu").quick_gelu is True


@pytest.mark.parametrize("quick", [True, False])
def test_the_activation_reaches_both_towers(tmp_path: Path, quick: bool) -> None:
    backbone = tiny(tmp_path)
    model = empty_model(backbone, find_source(backbone, "none", "quickgelu" if quick else "gelu").quick_gelu)
    wanted = QuickGELU if quick else nn.GELU
    for tower in (model.visual, model.transformer):
        found = [type(part) for part in tower.modules() if isinstance(part, nn.GELU | QuickGELU)]
        assert found
        assert set(found) == {wanted}


def test_unknown_tags_are_answered_with_the_known_ones() -> None:
    with pytest.raises(WeightsError, match=r"`--pretrained laion9b` is no weights tag of RN50.*openai, yfcc15m.*`none` builds"):
        find_source(find_backbone("RN50"), "laion9b", None)


@pytest.fixture
def vit_file(tmp_path: Path) -> str:
    """A file with the tensors of a ViT-B-32, all of them 0."""
    shapes = {name: tuple(tensor.shape) for name, tensor in floats_of(empty_on_paper("ViT-B-32")).items()}
    save_file({name: torch.zeros(shape, dtype=torch.float16) for name, shape in shapes.items()}, tmp_path / "w.safetensors")
    return str(tmp_path / "w.safetensors")


def empty_on_paper(name: str) -> Any:
    """A model without numbers."""
    with torch.device("meta"):
        return empty_model(find_backbone(name), None)


def test_files_of_published_models_must_say_their_activation(vit_file: str) -> None:
    with pytest.raises(WeightsError, match=r"fits ViT-B-32, but does not say.*`--activation quickgelu`.*`--activation gelu`"):
        find_source(find_backbone("ViT-B-32"), vit_file, None)
    assert find_source(find_backbone("ViT-B-32"), vit_file, "gelu").quick_gelu is False
    assert find_source(find_backbone("ViT-B-32-quickgelu"), vit_file, None).quick_gelu is None


def test_the_file_is_looked_into_before_the_activation_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 345678\n")
    with pytest.raises(WeightsError, match="is a Git LFS pointer, not the weights themselves: run `git lfs pull`"):
        find_source(find_backbone("ViT-B-16"), str(tmp_path / "w.safetensors"), None)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights `.*absent\.pt` cannot be read: No such file"):
        find_source(find_backbone("RN50"), str(tmp_path / "absent.pt"), None)


def no_network(*_: Any, **__: Any) -> None:
    """What the hub's client does on a machine without network."""
    raise OSError("[Errno -3] Temporary failure in name resolution")


@pytest.mark.parametrize("pretrained", ["openai", "hf-hub:someone/model", "hf:someone/model"])
def test_no_network_for_a_tag_or_a_repository(pretrained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = find_backbone("RN50")
    source = find_source(backbone, pretrained, None)
    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", no_network)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(WeightsError) as caught:
        load(backbone, source, 0)
    name = "timm/resnet50_clip.openai" if pretrained == "openai" else "someone/model"
    assert str(caught.value).startswith(f"{name} could not be fetched from ")
    assert "Temporary failure in name resolution" in str(caught.value)
    assert "download open_clip_model.safetensors of" in str(caught.value)


@pytest.mark.parametrize(
    ("config", "quick", "told"),
    [
        ({"model_cfg": {"quick_gelu": True}}, True, ""),
        ({"model_cfg": {}}, False, ""),
        ({}, None, "org/name does not say which activation its weights need: add `--activation quickgelu`"),
    ],
)
def test_a_repository_says_its_activation_or_is_asked(
    config: dict[str, Any], quick: bool, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "fetch", lambda *_: Fetched(tmp_path / "w.safetensors", config))
    source = find_source(find_backbone("ViT-B-32"), "hf:org/name", None)
    if told:
        with pytest.raises(WeightsError, match=told):
            sources.fetched(source, print)
    else:
        assert sources.fetched(source, print)[1].quick_gelu is quick
        wrong = dataclasses.replace(source, quick_gelu=not quick)
        with pytest.raises(WeightsError, match="a mismatch would quietly lower accuracy"):
            sources.fetched(wrong, print)


def test_random_weights_follow_the_seed(tmp_path: Path) -> None:
    backbone = tiny(tmp_path)
    source = find_source(backbone, "none", None)
    states = [load(backbone, source, seed).model.state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not torch.equal(states[0]["text_projection"], states[2]["text_projection"])
    assert source_key(source, 0) != source_key(source, 1)


def test_random_weights_leave_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    backbone = tiny(tmp_path)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(backbone, find_source(backbone, "none", None), 0)
    assert torch.equal(torch.rand(3), expected)


def test_random_weights_react_to_what_they_see_and_read(tmp_path: Path) -> None:
    """A model whose answer were the same for every picture or for every text could not test anything."""
    backbone = find_backbone(str(write_config(tmp_path / "tiny.json", TINY_RN)))
    model = load(backbone, find_source(backbone, "none", None), 0).model
    torch.manual_seed(0)
    pictures = nn.functional.interpolate(torch.randn(2, 3, 6, 6), (96, 96), mode="bicubic")
    with torch.no_grad():
        images = model.encode_image(pictures, normalize=True)
        texts = model.encode_text(open_clip.tokenize(["a cat", "a photograph of something else entirely"]), normalize=True)
    assert images[0] @ images[1] < 0.95
    assert texts[0] @ texts[1] < 0.95
    assert not model.training
    assert next(model.parameters()).dtype == torch.float32


def test_random_weights_say_so(tmp_path: Path) -> None:
    backbone = tiny(tmp_path)
    weights = load(backbone, find_source(backbone, "none", None), 0).weights
    assert (weights.trained, weights.tag, weights.source) == (False, "none", "seeded random weights")


def test_preprocessing_comes_from_the_weights(tmp_path: Path) -> None:
    model = empty_model(tiny(tmp_path), None)
    usual = preprocessing_of(model, find_source(find_backbone("RN50"), "openai", None))
    assert (usual.mean, usual.resample) == (open_clip.OPENAI_DATASET_MEAN, "bicubic")
    model.visual.preprocess_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "interpolation": "bilinear"}
    other = preprocessing_of(model, find_source(find_backbone("RN50"), "openai", None))
    assert (other.mean, other.std, other.resample) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bilinear")
