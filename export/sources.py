"""Where weights come from: open_clip tags, Hub names, local files or a seed; and what is known of them before they are read.

Files and the hub are read by `runtime.filling`, as `vlscore pull` reads them. Nothing is unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import open_clip
import torch

from export.backbones import OWN, QUICK, Backbone, empty_model, floats_of, own_names, tags
from runtime.errors import WeightsError
from runtime.filling.catalogue import Activation, catalogue
from runtime.filling.checkpoint import Checkpoint, open_checkpoint
from runtime.filling.fit import check_fit, check_surplus
from runtime.filling.hub import Say, fetch
from runtime.filling.origin import SEE, sha256_of

HUBS = ("hf-hub:", "hf:")
SUFFIXES = (".pt", ".pth", ".bin", ".safetensors")
ACTIVATIONS = "add `--activation quickgelu` (weights of OpenAI, MetaCLIP and DFN) or `--activation gelu` (LAION, DataComp)"


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
    if pretrained.startswith(HUBS):
        return Source("hub", pretrained, quick, {"hf_hub": pretrained.partition(":")[2]})
    if pretrained.endswith(SUFFIXES) or Path(pretrained).is_file():
        return file_source(backbone, Path(pretrained), quick)
    names = (backbone.name, backbone.name + QUICK)
    known = next((found for name in names if (found := open_clip.get_pretrained_cfg(name, pretrained))), None)
    if not known:
        raise WeightsError(
            f"`--pretrained {pretrained}` is no weights tag of {backbone.name}, and no file; open_clip knows "
            f"{', '.join(tags(backbone.name)) or 'none'}; `none` builds with seeded random weights"
        )
    trained_quick = bool(known.get("quick_gelu", False))
    named_quick = True if backbone.explicit_activation and backbone.config.get("quick_gelu") else None
    for wanted in (quick, named_quick):
        check_activation(f"weights `{pretrained}` of {backbone.name}", trained_quick, wanted)
    return Source("tag", pretrained, trained_quick, known)


def file_source(backbone: Backbone, path: Path, quick: bool | None) -> Source:
    """Look into a local file; only TorchScript archives (OpenAI's own) say which activation they need."""
    checkpoint = open_checkpoint(path)
    check_tensors(backbone, checkpoint)
    if checkpoint.scripted:
        check_activation(f"`{path}`, an archive of OpenAI's,", True, quick)
        return Source("file", str(path), True, {})
    if quick is None and not backbone.explicit_activation and tags(backbone.name):
        raise WeightsError(f"`{path}` fits {backbone.name}, but does not say which activation it was trained with: {ACTIVATIONS}")
    return Source("file", str(path), quick, {})


def check_activation(what: str, trained_quick: bool, wanted: bool | None) -> None:
    """Refuse the wrong activation."""
    if wanted is not None and wanted != trained_quick:
        raise WeightsError(
            f"{what} were trained with {word(trained_quick)}, but {word(wanted)} was asked for; a mismatch would quietly lower "
            "accuracy, so it is refused"
        )


def check_tensors(backbone: Backbone, checkpoint: Checkpoint) -> None:
    """Refuse a file whose tensors are not those of this backbone, each of them and no others."""
    with torch.device("meta"):
        model = empty_model(backbone, None)
    expects = {plain(name): tuple(tensor.shape) for name, tensor in floats_of(model).items()}
    shapes = checkpoint.tensors.shapes()
    check_fit(expects, shapes, backbone.name, checkpoint.path.name)
    check_surplus(expects, shapes, backbone.name, checkpoint.path.name)


def source_key(source: Source, seed: int) -> str:
    """A string that changes when the weights would: file content, download address, or seed."""
    if source.kind == "file":
        return sha256_of(Path(source.name))
    if source.kind == "none":
        return f"random seed {seed}"
    addresses = {key: value for key, value in source.details.items() if isinstance(value, str)}
    return json.dumps([source.kind, source.name, addresses], sort_keys=True)


def fetched(source: Source, say: Say) -> tuple[Path, Source]:
    """The file of weights, from the hub if need be, and its source with what the repository's configuration tells."""
    if source.kind == "file":
        return Path(source.name), source
    if not source.details.get("hf_hub"):
        raise WeightsError(f"open_clip knows no repository of `{source.name}`; download the weights: `--pretrained FILE`")
    found = fetch(repository(source), licence_of(source), say)
    if source.kind == "tag":
        return found.path, source
    details, quick = {**source.details, **found.config.get("preprocess_cfg", {})}, source.quick_gelu
    if "model_cfg" in found.config:  # which is the whole of it: GELU is what open_clip's configurations leave out
        quick = bool(found.config["model_cfg"].get("quick_gelu", False))
        check_activation(f"the weights of {repository(source)}", quick, source.quick_gelu)
    elif quick is None:
        raise WeightsError(f"{repository(source)} does not say which activation its weights need: {ACTIVATIONS}")
    return found.path, replace(source, quick_gelu=quick, details=details)


def repository(source: Source) -> str:
    """Where on the hub weights lie."""
    return str(source.details["hf_hub"]).strip("/")


def plain(name: str) -> str:
    """A tensor's name in a checkpoint: open_clip's newer models put `text.` before those of the text tower."""
    return name.removeprefix("text.")


def address(source: Source) -> str:
    """Where weights came from, for the record: never a path of this machine."""
    if source.kind in ("tag", "hub"):
        return repository(source)
    if is_own(source):
        return "trained in this project on the emoji world"
    return {"file": "local file", "none": "seeded random weights"}[source.kind]


def licence_of(source: Source) -> str:
    """The licence of the weights, where it is known."""
    if is_own(source):
        return "Apache-2.0"
    if source.kind == "none":
        return "none (random)"
    where = str(source.details.get("hf_hub", "")).strip("/")
    return next((entry.licence for entry in catalogue() if entry.repository == where), SEE)


def is_own(source: Source) -> bool:
    """Whether the weights are a checkpoint of this project."""
    return source.kind == "file" and Path(source.name).parent == OWN


def word(quick: bool) -> str:
    """The activation's name."""
    return "QuickGELU" if quick else "GELU"
