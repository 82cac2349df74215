"""Where weights come from, and which activation they were trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip.transformer import QuickGELU
from torch import nn

from export.backbones import find_backbone
from export.weights import WeightsError, empty_model, find_source, load, preprocessing_of, source_key
from tests.configs import TINY_RN, TINY_VIT, write_config


def no_network(*_: Any, **__: Any) -> None:
    """What a download does on a machine without network."""
    raise OSError("[Errno -3] Temporary failure in name resolution")


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
    model = empty_model(backbone, find_source(backbone, "none", "quickgelu" if quick else "gelu"))
    wanted = QuickGELU if quick else nn.GELU
    for tower in (model.visual, model.transformer):
        found = [type(part) for part in tower.modules() if isinstance(part, nn.GELU | QuickGELU)]
        assert found
        assert set(found) == {wanted}


def test_unknown_tags_are_answered_with_the_known_ones() -> None:
    with pytest.raises(WeightsError, match=r"`--pretrained laion9b` is no weights tag of RN50.*openai, yfcc15m.*`none` builds"):
        find_source(find_backbone("RN50"), "laion9b", None)


def test_files_of_published_models_must_say_their_activation(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"anything")
    with pytest.raises(WeightsError, match=r"does not say.*`--activation quickgelu`.*`--activation gelu`"):
        find_source(find_backbone("ViT-B-16"), str(path), None)
    assert find_source(find_backbone("ViT-B-16"), str(path), "gelu").quick_gelu is False
    assert find_source(find_backbone("ViT-B-16-quickgelu"), str(path), None).quick_gelu is None
    assert find_source(tiny(tmp_path), str(path), None).quick_gelu is None


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"`.*absent\.pt` does not exist"):
        find_source(find_backbone("RN50"), str(tmp_path / "absent.pt"), None)


def test_no_network_for_a_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = find_backbone("RN50")
    source = find_source(backbone, "openai", None)
    monkeypatch.setattr(open_clip, "download_pretrained", no_network)
    with pytest.raises(WeightsError) as caught:
        load(backbone, source, 0)
    message = str(caught.value)
    assert message.startswith("weights `openai` could not be downloaded from ")
    assert "Temporary failure in name resolution" in message
    assert "`--pretrained FILE`" in message
    assert "`--pretrained none`" in message


def test_no_network_for_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = find_backbone("RN50")
    source = find_source(backbone, "hf-hub:someone/model", None)
    assert source.kind == "hub"
    monkeypatch.setattr(open_clip, "create_model", no_network)
    with pytest.raises(WeightsError, match=r"`hf-hub:someone/model` could not be loaded from the Hub: .*name resolution"):
        load(backbone, source, 0)


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
    model = empty_model(tiny(tmp_path), find_source(tiny(tmp_path), "none", None))
    usual = preprocessing_of(model, find_source(find_backbone("RN50"), "openai", None))
    assert (usual.mean, usual.resample) == (open_clip.OPENAI_DATASET_MEAN, "bicubic")
    model.visual.preprocess_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "interpolation": "bilinear"}
    other = preprocessing_of(model, find_source(find_backbone("RN50"), "openai", None))
    assert (other.mean, other.std, other.resample) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bilinear")
