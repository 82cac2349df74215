"""Where weights come from: the catalogue's repository, another one, a folder, or a file; and what is known of them there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.bundles import WEIGHTS, bundle_name
from runtime.errors import WeightsError
from runtime.filling.bundle import OPENAI_MEAN, OPENAI_STD, Weights
from runtime.filling.catalogue import QUICK, Activation, Entry, catalogue, find_entry
from runtime.filling.checkpoint import Checkpoint, open_checkpoint
from runtime.filling.hub import FILES, Say, fetch, read_config, read_json
from runtime.filling.template import shipped

HUB = "hf:"
SEE, LOCAL = "see the source", "local file"


@dataclass(frozen=True)
class Origin:
    """A file of weights, and what its surroundings tell: the catalogue's entry, or a configuration."""

    path: Path
    source: str
    entry: Entry | None
    config: dict[str, Any]

    @property
    def tag(self) -> str:
        """What to call weights that the catalogue does not know: their file, or what holds it where every file is called so."""
        if self.source != LOCAL:
            return self.source.rpartition("/")[2]
        return self.path.absolute().parent.name if self.path.name in FILES else self.path.name


def find_origin(asked: str, given: str | None, say: Say) -> Origin:
    """Get the file: what `--from` names, else what the catalogue has for the model asked for."""
    if given is None:
        entry = find_entry(asked)
        return Origin(fetch(entry.repository, entry.licence, say).path, entry.repository, entry, {})
    if given.startswith(HUB):
        repository = given.removeprefix(HUB).strip("/")
        known = next((entry for entry in catalogue() if entry.repository == repository), None)
        fetched = fetch(repository, known.licence if known else SEE, say)
        return Origin(fetched.path, repository, known, fetched.config)
    path = Path(given).expanduser()
    if path.is_dir():
        return Origin(file_in(path), LOCAL, None, config_beside(path))
    return Origin(path, LOCAL, None, config_beside(path.parent) if path.name in FILES else {})


def file_in(folder: Path) -> Path:
    """The weights of a folder: the names that hubs use first, else the only file of weights there."""
    for name in FILES:
        if (folder / name).is_file():
            return folder / name
    found = [path for path in sorted(folder.iterdir()) if path.suffix in WEIGHTS]
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise WeightsError(f"`{folder}` must hold one file of weights, found {names}; name the file itself")
    return found[0]


def config_beside(folder: Path) -> dict[str, Any]:
    """The configuration of a downloaded repository, where it is there."""
    return read_config(lambda name: read_json(folder / name), f"`{folder}`")


def weights_of(asked: str, origin: Origin, activation: Activation | None) -> Weights:
    """Open the file and settle what a file alone does not tell: the activation, and how pixels are scaled."""
    checkpoint = open_checkpoint(origin.path)
    usual = find_entry(asked)
    digest = sha256_of(origin.path)
    known = origin.entry or next((entry for entry in catalogue() if digest == entry.archive_sha256), None)
    named = known or (usual if asked == usual.name != usual.backbone else None)
    told = origin.config.get("preprocess_cfg", {})
    return Weights(
        checkpoint,
        template=choose(asked, usual.backbone, named, origin.config, checkpoint, activation),
        mean=named.mean if named else tuple(told.get("mean", OPENAI_MEAN)),
        std=named.std if named else tuple(told.get("std", OPENAI_STD)),
        tag=known.tag if known else origin.tag,
        source=origin.source,
        licence=known.licence if known else SEE,
        sha256=digest,
    )


def choose(
    asked: str,
    backbone: str,
    named: Entry | None,
    config: dict[str, Any],
    checkpoint: Checkpoint,
    activation: Activation | None,
) -> str:
    """The template: its activation is what the file's surroundings tell, or the caller, or the only one there is."""
    told: list[Activation] = []
    if named:
        told.append(named.activation)
    if checkpoint.scripted or asked.endswith(QUICK):
        told.append("quickgelu")
    if "quick_gelu" in config.get("model_cfg", {}):
        told.append("quickgelu" if config["model_cfg"]["quick_gelu"] else "gelu")
    wanted = {*told, *([activation] if activation else [])}
    if len(wanted) > 1:
        raise WeightsError(
            f"`{checkpoint.path.name}` was trained with {told[0]}, and {(wanted - {told[0]}).pop()} was asked for; a mismatch "
            "would quietly lower accuracy, so it is refused"
        )
    there = [name for name in (backbone, backbone + QUICK) if name in shipped()]
    if not wanted and len(there) > 1:
        raise WeightsError(
            f"`{checkpoint.path.name}` does not say which activation it was trained with: add `--activation quickgelu` (weights "
            "of OpenAI, MetaCLIP and DFN) or `--activation gelu` (LAION, DataComp), or name the weights: `vlscore models`"
        )
    found = [name for name in there if not wanted or name.endswith(QUICK) == ("quickgelu" in wanted)]
    if not found:
        raise WeightsError(f"no template of {backbone}{' with '.join(['', *wanted])}; there are {', '.join(shipped()) or 'none'}")
    return found[0]


def bundle_for(asked: str, weights: Weights) -> str:
    """The name of the bundle: the catalogue's for its weights, else the backbone's with the file's."""
    usual = find_entry(asked)
    named = next((entry for entry in catalogue() if (entry.backbone, entry.tag) == (usual.backbone, weights.tag)), None)
    if named is not None:
        return named.name
    return asked if asked == usual.name != usual.backbone else bundle_name(usual.backbone, weights.tag, "fp32")


def sha256_of(path: Path) -> str:
    """The hash of a file."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"weights `{path}` cannot be read: {error.strerror}") from None
