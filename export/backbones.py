"""Which backbones can be built: open_clip's own model configurations of the two CLIP families and CoCa, by name or by file."""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import open_clip
from torch import Tensor, nn

from export.vocabulary import clip_tokenizer
from runtime.errors import VlscoreError

Config = dict[str, Any]

QUICK = "-quickgelu"
WHOLE = 49408  # tokens of CLIP's whole vocabulary
TABLE = ("RN50", "RN101", "RN50x4", "RN50x16", "RN50x64", "ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336", "ViT-H-14")
OWN = Path(__file__).parent / "checkpoints"
ALIASES = {"ViT-L-14@336px": "ViT-L-14-336", "ViT-L-14@336": "ViT-L-14-336"}


class BackboneError(VlscoreError, ValueError):
    """The backbone asked for is unknown or is not one that VL-Score can read."""


@dataclass(frozen=True)
class Backbone:
    """A model configuration and the name that its bundle gets."""

    name: str
    config: Config
    explicit_activation: bool  # the configuration itself says which GELU; open_clip's plain names do not
    presence: float = 0.0  # the margin that tells present from absent, where it was measured
    nouns: tuple[str, ...] = ()  # all that a small model was taught
    merges: Path | None = None  # the list that its tokenizer was made from; none: CLIP's own

    @property
    def family(self) -> Literal["resnet", "vit"]:
        """Which kind of image tower this is."""
        return "resnet" if isinstance(self.config["vision_cfg"].get("layers"), list) else "vit"


def find_backbone(asked: str) -> Backbone:
    """Find a backbone by open_clip name (`RN50`, `ViT-B/16`) or by the path of a model configuration in JSON."""
    if asked.endswith(".json"):
        return from_file(Path(asked))
    if asked in own_names():
        return from_file(OWN / f"{asked}.json")
    name = asked.replace("/", "-")
    name = ALIASES.get(name, name)
    config = open_clip.get_model_config(name)
    if config is None:
        near = difflib.get_close_matches(name, [*own_names(), *supported_names()], n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise BackboneError(
            f"backbone `{asked}` is unknown{hint}\n"
            "list them with `python -m export.build --list`, or give the path of an open_clip model configuration (.json)"
        )
    check(name, config)
    return Backbone(name.removesuffix(QUICK), copy.deepcopy(config), name.endswith(QUICK))


def own_names() -> list[str]:
    """The models trained in this project, whose checkpoints lie beside this file."""
    return sorted(path.stem for path in OWN.glob("*.safetensors"))


def from_file(path: Path) -> Backbone:
    """Read a model configuration in open_clip's JSON form (with or without the `model_cfg` wrapper).

    Beside `model_cfg` it may give `presence`, the margin over the base that `python -m bench.accuracy` measured; `merges`,
    the file beside it that lists the merges of a tokenizer smaller than CLIP's; and `nouns`, a file of all words that a small
    model was taught.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BackboneError(f"backbone configuration `{path}` does not exist") from None
    except (OSError, ValueError) as error:
        raise BackboneError(f"backbone configuration `{path}` is not readable JSON: {error}") from None
    config = content.get("model_cfg", content) if isinstance(content, dict) else {}
    kinds = {"embed_dim": int, "vision_cfg": dict, "text_cfg": dict}
    missing = [key for key, kind in kinds.items() if not isinstance(config.get(key), kind)]
    if missing:
        raise BackboneError(f"backbone configuration `{path}` lacks {', '.join(missing)}; it must be an open_clip model config")
    check(path.stem, config)
    presence = content.get("presence", 0.0)
    if isinstance(presence, bool) or not isinstance(presence, int | float) or not 0 <= presence < 2:
        raise BackboneError(f"backbone configuration `{path}`: `presence` must be a margin from 0 to 2, found {presence!r}")
    merges = path.parent / content["merges"] if "merges" in content else None
    check_vocabulary(path, config["text_cfg"], merges)
    nouns = tuple((path.parent / content["nouns"]).read_text(encoding="utf-8").split("\n")[:-1]) if "nouns" in content else ()
    return Backbone(path.stem, config, True, presence=float(presence), nouns=nouns, merges=merges)


def check_vocabulary(path: Path, text: Mapping[str, Any], merges: Path | None) -> None:
    """Refuse a token table and a tokenizer of different sizes: ids would point at other words, or at nothing."""
    if merges is not None and not merges.is_file():
        raise BackboneError(f"backbone configuration `{path}`: `merges` names `{merges.name}`, which does not lie beside it")
    asked, known = text.get("vocab_size", WHOLE), clip_tokenizer(merges).vocab_size if merges else WHOLE
    if asked < known or (merges and asked > known):  # rows beyond CLIP's own words are never read
        raise BackboneError(
            f"backbone configuration `{path}`: `vocab_size` must be {known}, the tokens of "
            f"{'its `merges`' if merges else 'CLIP'}, found {asked}"
        )


def check(name: str, config: Mapping[str, Any]) -> None:
    """Refuse towers that are neither a CLIP ResNet nor a plain vision transformer, with the text tower of CLIP or CoCa."""
    reason = unsupported(config)
    if reason:
        raise BackboneError(
            f"backbone `{name}` cannot be built: {reason}. Supported are CLIP's ResNets and plain vision transformers "
            "with the text tower of CLIP or of CoCa; see `python -m export.build --list`"
        )


def unsupported(config: Mapping[str, Any]) -> str:
    """Say why a configuration is outside the two families, or nothing when it is inside."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    tests = {
        "its image tower is a timm model": "timm_model_name" in vision,
        "its image tower pools in two steps, or not at all": vision.get("attentional_pool", False) not in (False, True)
        or vision.get("pool_type", "tok") not in ("tok", "avg"),
        "its attention blocks are not CLIP's": any(
            vision.get(key) for key in ("block_type", "qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner")
        ),
        "its text tower is a Hugging Face model": "hf_model_name" in text,
        "its tokenizer is not CLIP's": any(key in text for key in ("hf_tokenizer_name", "tokenizer_kwargs", "tokenizer_mode")),
        "its text tower pools another way": text.get("pool_type", "argmax") != "argmax",
        "its texts have a class token, or captions, and not both as CoCa's": ("multimodal_cfg" in config)
        != bool(text.get("embed_cls")),
        "its texts are padded with another token than 0": text.get("pad_id", 0) != 0,
        "its pictures are not square": isinstance(vision.get("image_size", 224), list),
    }
    return next((reason for reason, found in tests.items() if found), "")


def empty_model(backbone: Backbone, quick_gelu: bool | None) -> Any:  # noqa: ANN401 - open_clip's modules carry no types
    """Make the model of a configuration with the activation that its weights need; None: the one that it names."""
    config = copy.deepcopy(backbone.config)
    if quick_gelu is not None:
        config["quick_gelu"] = quick_gelu
    custom = config.pop("custom_text", False)
    kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    try:
        return kind(**config)
    except Exception as error:  # of any kind: what a configuration says may be nonsense
        raise BackboneError(f"open_clip cannot make a model of the configuration of `{backbone.name}`: {error}") from error


def floats_of(model: nn.Module) -> dict[str, Tensor]:
    """A model's floating-point tensors by name."""
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}


def supported_names() -> list[str]:
    """Every open_clip configuration that can be built, the published CLIP backbones first."""
    others = [name for name in open_clip.list_models() if name not in TABLE]
    fitting = [name for name in others if (config := open_clip.get_model_config(name)) and not unsupported(config)]
    return [*TABLE, *fitting]


def tags(name: str) -> list[str]:
    """The pretrained tags that open_clip knows for a backbone, under its plain and its QuickGELU name."""
    plain, quick = (open_clip.list_pretrained_tags_by_model(each) for each in (name, name + QUICK))
    return list(dict.fromkeys([*plain, *quick]))
