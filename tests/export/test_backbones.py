"""Which models can be built, and what a wrong name or configuration is answered."""

from __future__ import annotations

import gzip
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

import export
from export.backbones import TABLE, BackboneError, empty_model, find_backbone, supported_names, tags, unsupported
from runtime.errors import VlscoreError
from tests.configs import TINY_RN, TINY_VIT, changed, write_config

# Name, family, side, dimensions, and blocks per stage or (patch, layers, width): facts of the published models.
PUBLISHED = [
    ("RN50", "resnet", 224, 1024, [3, 4, 6, 3]),
    ("RN101", "resnet", 224, 512, [3, 4, 23, 3]),
    ("RN50x4", "resnet", 288, 640, [4, 6, 10, 6]),
    ("RN50x16", "resnet", 384, 768, [6, 8, 18, 8]),
    ("RN50x64", "resnet", 448, 1024, [3, 15, 36, 10]),
    ("ViT-B-32", "vit", 224, 512, (32, 12, 768)),
    ("ViT-B-16", "vit", 224, 512, (16, 12, 768)),
    ("ViT-L-14", "vit", 224, 768, (14, 24, 1024)),
    ("ViT-L-14-336", "vit", 336, 768, (14, 24, 1024)),
    ("ViT-H-14", "vit", 224, 1024, (14, 32, 1280)),
]


def test_the_table_is_complete() -> None:
    assert [row[0] for row in PUBLISHED] == list(TABLE)


@pytest.mark.parametrize(("name", "family", "side", "dim", "sizes"), PUBLISHED)
def test_published_backbones_have_their_sizes(name: str, family: str, side: int, dim: int, sizes: object) -> None:
    backbone = find_backbone(name)
    vision = backbone.config["vision_cfg"]
    assert (backbone.name, backbone.family) == (name, family)
    assert (vision["image_size"], backbone.config["embed_dim"]) == (side, dim)
    found = vision["layers"] if family == "resnet" else (vision["patch_size"], vision["layers"], vision["width"])
    assert found == sizes


@pytest.mark.parametrize(
    ("asked", "name"),
    [("ViT-B/16", "ViT-B-16"), ("ViT-L-14@336px", "ViT-L-14-336"), ("ViT-L/14@336px", "ViT-L-14-336"), ("RN50", "RN50")],
)
def test_other_spellings(asked: str, name: str) -> None:
    assert find_backbone(asked).name == name


def test_quickgelu_names_are_the_same_backbone_with_its_activation_told() -> None:
    plain, quick = find_backbone("ViT-B-16"), find_backbone("ViT-B-16-quickgelu")
    assert quick.name == plain.name == "ViT-B-16"
    assert (plain.explicit_activation, quick.explicit_activation) == (False, True)
    assert quick.config["quick_gelu"] is True


def test_a_changed_configuration_does_not_leak_into_the_next() -> None:
    find_backbone("RN50").config["vision_cfg"]["image_size"] = 1
    assert find_backbone("RN50").config["vision_cfg"]["image_size"] == 224


@pytest.mark.parametrize(("asked", "near"), [("RN5O", "RN50"), ("ViT-B-61", "ViT-B-16"), ("RN50x46", "RN50x4")])
def test_misspelt_names_get_suggestions(asked: str, near: str) -> None:
    with pytest.raises(BackboneError, match=rf"`{asked}` is unknown; did you mean .*{near}[,?].*\n.*--list"):
        find_backbone(asked)


def test_nothing_near_is_no_suggestion() -> None:
    with pytest.raises(BackboneError, match=r"`zzzzzzzz` is unknown\n.*--list.*\.json"):
        find_backbone("zzzzzzzz")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("ViT-B-16-SigLIP", "its image tower is a timm model"),
        ("convnext_base", "its image tower is a timm model"),
        ("EVA01-g-14", "its image tower is a timm model"),
        ("coca_roberta-ViT-B-32", "its text tower is a Hugging Face model"),
        ("xlm-roberta-base-ViT-B-32", "its text tower is a Hugging Face model"),
        ("ViT-L-14-CLIPA", "its tokenizer is not CLIP's"),
    ],
)
def test_other_families_are_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(BackboneError, match=rf"`{name}` cannot be built: {reason}.*Supported are CLIP's ResNets"):
        find_backbone(name)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("vision_cfg/timm_model_name", "resnet50", "timm"),
        ("vision_cfg/attentional_pool", "parallel", "pools in two steps"),
        ("vision_cfg/pool_type", "none", "pools in two steps, or not at all"),
        ("vision_cfg/qk_norm", True, "attention blocks"),
        ("text_cfg/hf_model_name", "roberta-base", "Hugging Face"),
        ("text_cfg/hf_tokenizer_name", "t5", "tokenizer"),
        ("text_cfg/pool_type", "last", "text tower pools another way"),
        ("text_cfg/embed_cls", True, "class token, or captions, and not both"),
        ("multimodal_cfg", {}, "class token, or captions, and not both"),
        ("text_cfg/pad_id", 1, "padded with another token"),
        ("vision_cfg/image_size", [224, 336], "not square"),
    ],
)
def test_every_reason_for_refusal(path: str, value: object, reason: str) -> None:
    assert unsupported(TINY_VIT) == ""
    assert reason in unsupported(changed(TINY_VIT, path, value))


@pytest.mark.parametrize("wrap", [False, True])
@pytest.mark.parametrize(("config", "family"), [(TINY_RN, "resnet"), (TINY_VIT, "vit")])
def test_configuration_files(tmp_path: Path, config: dict[str, Any], family: str, wrap: bool) -> None:
    path = write_config(tmp_path / "mine.json", {"model_cfg": config, "preprocess_cfg": {}} if wrap else config)
    backbone = find_backbone(str(path))
    assert (backbone.name, backbone.family, backbone.explicit_activation) == ("mine", family, True)
    assert backbone.config == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not readable JSON"),
        ("[1]", "lacks embed_dim, vision_cfg, text_cfg"),
        (json.dumps({"embed_dim": 1, "text_cfg": {}}), "lacks vision_cfg; it must be an open_clip model config"),
        (
            json.dumps({"embed_dim": 1, "vision_cfg": None, "text_cfg": {}}),
            "lacks vision_cfg; it must be an open_clip model config",
        ),
        (json.dumps(changed(TINY_VIT, "vision_cfg/timm_model_name", "x")), "cannot be built: its image tower is a timm"),
        ("\udcff", "is not readable JSON"),
    ],
)
def test_broken_configuration_files(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "mine.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(BackboneError, match=message):
        find_backbone(str(path))


def test_a_configuration_that_makes_no_model_is_told_in_one_sentence(tmp_path: Path) -> None:
    path = write_config(tmp_path / "mine.json", changed(TINY_VIT, "vision_cfg/width", "wide"))
    with pytest.raises(BackboneError, match=r"open_clip cannot make a model of the configuration of `mine`: .*'str'"):
        empty_model(find_backbone(str(path)), None)


def test_every_error_of_the_room_is_a_vlscore_error() -> None:
    """So that whoever calls a build needs one `except`."""
    modules = [importlib.import_module(f"export.{path.stem}") for path in Path(export.__file__).parent.glob("*.py")]
    own = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    errors = {kind for kind in own if issubclass(kind, Exception) and kind.__module__.startswith("export.")}
    assert len(errors) > 4
    assert all(issubclass(kind, VlscoreError) for kind in errors)


def test_a_configuration_may_bring_a_measured_margin(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"model_cfg": TINY_RN, "presence": 0.25}))
    assert find_backbone(str(path)).presence == 0.25
    path.write_text(json.dumps({"model_cfg": TINY_RN}))
    assert find_backbone(str(path)).presence == 0.0


@pytest.mark.parametrize("margin", [-0.1, 2, "much", True, None])
def test_a_margin_that_no_cosine_reaches_is_refused(tmp_path: Path, margin: object) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"model_cfg": TINY_RN, "presence": margin}))
    with pytest.raises(BackboneError, match="`presence` must be a margin"):
        find_backbone(str(path))


def test_missing_configuration_file(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="does not exist"):
        find_backbone(str(tmp_path / "absent.json"))


def test_the_list_holds_what_can_be_built_and_its_weights() -> None:
    names = supported_names()
    assert tuple(names[: len(TABLE)]) == TABLE
    assert len(names) == len(set(names))
    assert all(find_backbone(name) for name in names)
    assert not any("SigLIP" in name for name in names)
    assert {"coca_ViT-B-32", "coca_ViT-L-14"} <= set(names)
    assert {"openai", "laion2b_s34b_b88k", "dfn2b"} <= set(tags("ViT-B-16"))


@pytest.mark.parametrize(
    ("vocab_size", "merges", "message"),
    [
        (2017, None, "`vocab_size` must be 49408, the tokens of CLIP, found 2017"),
        (515, "two.txt.gz", "`vocab_size` must be 516, the tokens of its `merges`, found 515"),
        (49408, "two.txt.gz", "`vocab_size` must be 516"),
        (516, "none.txt.gz", "`merges` names `none.txt.gz`, which does not lie beside it"),
    ],
)
def test_the_token_table_and_the_tokenizer_must_be_of_one_size(
    tmp_path: Path, vocab_size: int, merges: str | None, message: str
) -> None:
    (tmp_path / "two.txt.gz").write_bytes(gzip.compress(b"#version: 0.2\nd o\ndo g</w>"))
    config = {"model_cfg": changed(TINY_RN, "text_cfg/vocab_size", vocab_size)}
    path = write_config(tmp_path / "mine.json", {**config, "merges": merges} if merges else config)
    with pytest.raises(BackboneError, match=message):
        find_backbone(str(path))


def test_a_configuration_may_bring_its_own_words(tmp_path: Path) -> None:
    (tmp_path / "two.txt.gz").write_bytes(gzip.compress(b"#version: 0.2\nd o\ndo g</w>"))
    config = {"model_cfg": changed(TINY_RN, "text_cfg/vocab_size", 516), "merges": "two.txt.gz"}
    assert find_backbone(str(write_config(tmp_path / "mine.json", config))).merges == tmp_path / "two.txt.gz"
