"""The catalogue: which published weights can be made into bundles here, where they lie, and under which licence."""

from __future__ import annotations

import difflib
import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runtime.errors import WeightsError

FILE = Path(__file__).with_name("catalogue.json")
QUICK = "-quickgelu"
ALIASES = {"ViT-L-14@336px": "ViT-L-14-336", "ViT-L-14@336": "ViT-L-14-336"}
Activation = Literal["gelu", "quickgelu"]


@dataclass(frozen=True)
class Entry:
    """A backbone with one set of published weights; `megabytes` is its file's size in float32."""

    name: str
    backbone: str
    tag: str
    template: str
    repository: str
    licence: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    megabytes: int
    archive_sha256: str = ""  # of the archive that OpenAI published the same weights in

    @property
    def activation(self) -> Activation:
        """What its weights were trained with."""
        return "quickgelu" if self.template.endswith(QUICK) else "gelu"


@functools.cache
def catalogue() -> tuple[Entry, ...]:
    """Every entry; a backbone's usual weights come before its others."""
    lines = json.loads(FILE.read_text(encoding="utf-8"))
    return tuple(Entry(**{**line, "mean": tuple(line["mean"]), "std": tuple(line["std"])}) for line in lines)


def lookup(asked: str) -> Entry | None:
    """Find an entry by its name (`ViT-B-16-dfn2b`), or a backbone's usual one (`ViT-B-16`, `ViT-B/16`, `RN50-quickgelu`)."""
    name = asked.replace("/", "-")
    name = ALIASES.get(name, name)
    for entry in catalogue():
        if name in (entry.name, entry.backbone, entry.template):
            return entry
    return None


def find_entry(asked: str) -> Entry:
    """Find an entry, or say which there are."""
    entry = lookup(asked)
    if entry is None:
        names = [entry.name for entry in catalogue()]
        near = difflib.get_close_matches(asked, names, n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise WeightsError(f"`{asked}` is none of the models that can be fetched{hint}\n`vlscore models` lists them")
    return entry
