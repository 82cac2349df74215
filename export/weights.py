"""Weights into a model: open_clip tags, Hub names, local files, or seeded random numbers. Nothing is unpickled."""

from __future__ import annotations

import copy
import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import open_clip
import torch
from open_clip import SimpleTokenizer
from torch import Tensor, nn

from engine.manifest import WeightsInfo
from export.backbones import OWN, QUICK, Backbone, own_names, tags
from export.encoders import Tower
from export.vocabulary import clip_tokenizer

HUB = "hf-hub:"
CALIBRATION = 8  # seeded pictures that give a random model its BatchNorm statistics
NOT_WEIGHTS = ("input_resolution", "context_length", "vocab_size")  # what OpenAI's archives hold besides
SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")
Activation = Literal["gelu", "quickgelu"]


class WeightsError(ValueError):
    """The weights asked for cannot be found, do not fit, or are broken."""


@dataclass(frozen=True)
class Preprocessing:
    """How a model wants its pictures."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    resample: Literal["bicubic", "bilinear"]


@dataclass(frozen=True)
class Loaded:
    """A model ready to be exported, in float32 and evaluation mode."""

    model: Tower
    weights: WeightsInfo
    preprocessing: Preprocessing
    tokenizer: SimpleTokenizer


@dataclass(frozen=True)
class Source:
    """Where weights come from, known before anything large is read."""

    kind: Literal["tag", "file", "hub", "none"]
    name: str
    quick_gelu: bool | None  # None: the model configuration decides
    details: Mapping[str, Any]


def default_weights(backbone: Backbone) -> str:
    """What is built when nothing is said: OpenAI's weights, or the checkpoint of a model of our own."""
    return str(OWN / f"{backbone.name}.safetensors") if backbone.name in own_names() else "openai"


def find_source(backbone: Backbone, pretrained: str, activation: Activation | None) -> Source:
    """Decide what `--pretrained` means for this backbone and which activation it was trained with."""
    quick = None if activation is None else activation == "quickgelu"
    if pretrained == "none":
        return Source("none", "none", quick, {})
    if pretrained.startswith(HUB):
        return Source("hub", pretrained, None, {})
    if pretrained.endswith(SUFFIXES):
        return file_source(backbone, Path(pretrained), quick)
    names = (backbone.name, backbone.name + QUICK)
    known = next((found for name in names if (found := open_clip.get_pretrained_cfg(name, pretrained))), None)
    if not known:
        raise WeightsError(
            f"`--pretrained {pretrained}` is no weights tag of {backbone.name}; open_clip knows "
            f"{', '.join(tags(backbone.name)) or 'none'}. A file must end in {', '.join(SUFFIXES)}; "
            "`none` builds with seeded random weights"
        )
    trained_quick = bool(known.get("quick_gelu", False))
    named_quick = True if backbone.explicit_activation and backbone.config.get("quick_gelu") else None
    for wanted in (quick, named_quick):
        if wanted is not None and wanted != trained_quick:
            raise WeightsError(
                f"weights `{pretrained}` of {backbone.name} were trained with {word(trained_quick)}, but {word(wanted)} was "
                "asked for; a mismatch would quietly lower accuracy, so it is refused"
            )
    return Source("tag", pretrained, trained_quick, known)


def file_source(backbone: Backbone, path: Path, quick: bool | None) -> Source:
    """Look at a local file: only TorchScript archives (OpenAI's own) say which activation they need."""
    if not path.is_file():
        raise WeightsError(f"weights file `{path}` does not exist")
    if is_torchscript(path):
        if quick is False:
            raise WeightsError(f"`{path}` is an OpenAI archive, trained with QuickGELU; `--activation gelu` does not fit it")
        return Source("file", str(path), True, {})
    if quick is None and not backbone.explicit_activation and tags(backbone.name):
        raise WeightsError(
            f"`{path}` does not say which activation it was trained with. Add `--activation quickgelu` "
            "(OpenAI, MetaCLIP, DFN weights) or `--activation gelu` (LAION, DataComp weights)"
        )
    return Source("file", str(path), quick, {})


def source_key(source: Source, seed: int) -> str:
    """A string that changes when the weights would: file content, download address, or seed."""
    if source.kind == "file":
        return sha256_of(Path(source.name))
    if source.kind == "none":
        return f"random seed {seed}"
    addresses = {key: value for key, value in source.details.items() if isinstance(value, str)}
    return json.dumps([source.kind, source.name, addresses], sort_keys=True)


def load(backbone: Backbone, source: Source, seed: int) -> Loaded:
    """Build the model and fill it; refuse weights that do not fit or hold anything that is not a finite number."""
    if source.kind == "hub":
        model, digest = load_hub(source.name)
    elif source.kind == "none":
        model, digest = random_model(backbone, source, seed), hashlib.sha256(f"seed {seed}".encode()).hexdigest()
    else:
        path = Path(source.name) if source.kind == "file" else download(source)
        model, digest = empty_model(backbone, source), sha256_of(path)
        fill(model, path, backbone.name)
    check_finite(model, source.name)
    info = WeightsInfo(
        tag=source.name if source.kind != "file" else Path(source.name).name,
        source=address(source),
        sha256=digest,
        licence=licence_of(source),
        trained=source.kind != "none",
    )
    tokenizer = clip_tokenizer(backbone.merges, int(model.context_length))
    return Loaded(model.float().eval(), info, preprocessing_of(model, source), tokenizer)


def empty_model(backbone: Backbone, source: Source) -> Tower:
    """Make the model of a configuration with the activation that its weights need."""
    config = copy.deepcopy(backbone.config)
    if source.quick_gelu is not None:
        config["quick_gelu"] = source.quick_gelu
    custom = config.pop("custom_text", False)
    return (open_clip.CustomTextCLIP if custom else open_clip.CLIP)(**config)


def random_model(backbone: Backbone, source: Source, seed: int) -> Tower:
    """Make a model of seeded random weights that reacts to its input as a trained one does.

    Fresh towers start with silent branches and faint words, and untouched BatchNorm statistics let every picture look the
    same. So the branches are opened, and the statistics are taken from a few seeded pictures.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = empty_model(backbone, source)
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            nn.init.uniform_(norm.weight, 0.5, 1.0)
            nn.init.normal_(norm.bias, std=0.1)
            norm.momentum = None  # a plain average over what is seen
        for name, weight in model.named_parameters():
            if ".resblocks." in name and weight.ndim == 2:
                nn.init.normal_(weight, std=1.5 * weight.shape[1] ** -0.5)
            elif name.endswith("token_embedding.weight"):
                nn.init.normal_(weight)
        if norms:
            side = int(backbone.config["vision_cfg"].get("image_size", 224))
            coarse = torch.randn(CALIBRATION, 3, 7, 7) + torch.randn(CALIBRATION, 3, 1, 1)
            with torch.no_grad():
                model.train()
                model.encode_image(nn.functional.interpolate(coarse, (side, side), mode="bicubic"))
    return model


def fill(model: Tower, path: Path, name: str) -> None:
    """Load a checkpoint strictly, without unpickling anything but tensors."""
    try:
        if is_torchscript(path):
            state = torch.jit.load(str(path), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
            model.load_state_dict({key: value for key, value in state.items() if key not in NOT_WEIGHTS})
        else:
            open_clip.load_checkpoint(model, str(path), strict=True, weights_only=True)
    except Exception as error:  # open_clip, torch and safetensors each raise their own kinds here
        raise WeightsError(f"weights `{path}` do not fit {name} or are broken: {first_lines(error)}") from error


def download(source: Source) -> Path:
    """Fetch the weights of an open_clip tag into its own cache (checked against its published hash there)."""
    try:
        return Path(open_clip.download_pretrained(dict(source.details)))
    except Exception as error:  # network, hub and hash errors have no common class
        raise WeightsError(
            f"weights `{source.name}` could not be downloaded from {address(source)}: {first_lines(error)}\n"
            "download them elsewhere and pass the file: `--pretrained FILE`; or `--pretrained none` for random weights"
        ) from error


def load_hub(name: str) -> tuple[Tower, str]:
    """Load a model and its configuration from the Hugging Face Hub by open_clip's `hf-hub:` name."""
    try:
        model = open_clip.create_model(name, require_pretrained=True)
    except Exception as error:  # as in download
        raise WeightsError(f"`{name}` could not be loaded from the Hub: {first_lines(error)}") from error
    return model, state_digest(model)


def preprocessing_of(model: Tower, source: Source) -> Preprocessing:
    """Mean, standard deviation and resampling, from the weights' own record or CLIP's constants."""
    found = dict(getattr(model.visual, "preprocess_cfg", None) or source.details)
    mean = found.get("mean", open_clip.OPENAI_DATASET_MEAN)
    std = found.get("std", open_clip.OPENAI_DATASET_STD)
    return Preprocessing(tuple(mean), tuple(std), "bilinear" if found.get("interpolation") == "bilinear" else "bicubic")


def check_finite(model: Tower, name: str) -> None:
    """Refuse weights that hold NaN or infinity."""
    for key, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not key.endswith("attn_mask") and not torch.isfinite(tensor).all():
            raise WeightsError(f"weights `{name}` hold NaN or infinity in `{key}`; the file is damaged, or its training diverged")


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive (which `weights_only` loading cannot read)."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def sha256_of(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def state_digest(model: Tower) -> str:
    """The sha256 over a model's tensors, for weights that are not one file."""
    digest = hashlib.sha256()
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(as_bytes(tensor))
    return digest.hexdigest()


def as_bytes(tensor: Tensor) -> bytes:
    """The raw bytes of a tensor."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def address(source: Source) -> str:
    """Where weights came from, for the record: never a path of this machine."""
    if source.kind == "tag":
        return str(source.details.get("hf_hub") or source.details.get("url") or "open_clip")
    if is_own(source):
        return "trained in this project on the emoji world"
    return {"file": "local file", "hub": source.name, "none": "seeded random weights"}[source.kind]


def licence_of(source: Source) -> str:
    """The licence of the weights, where it is known."""
    if is_own(source):
        return "Apache-2.0"
    known = {"openai": "MIT (OpenAI CLIP)", "none": "none (random)"}
    return known.get(source.name, "see the source")


def is_own(source: Source) -> bool:
    """Whether the weights are a checkpoint of this project."""
    return source.kind == "file" and Path(source.name).parent == OWN


def word(quick: bool) -> str:
    """The activation's name."""
    return "QuickGELU" if quick else "GELU"


def first_lines(error: Exception, limit: int = 300) -> str:
    """The start of an error's text, on one line."""
    return " ".join(str(error).split())[:limit] or type(error).__name__
