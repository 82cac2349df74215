"""An encoded picture: all that any query needs of it, kept in memory or in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.frame import Frame
from engine.methods import METHODS, READY
from engine.outline import Outline
from engine.prediction import Kernel, Regression
from engine.spec import Base, Spec
from runtime.errors import SceneError
from runtime.evidence import Evidence

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

SCHEMA, GUESSED = 2, 3  # of scenes without and with a guess: what is older reads the first
ARRAYS = ("maps", "embeddings", "base", "embedding")
ABOUT = ("passes", "preset", "precision", "backbone", "fingerprint", "blank")


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture after its passes: ask it anything, as often as you like, for a matrix product each time.

    `embeddings` (K, D) are of the masked copies, `base` (D,) of the blank picture, `embedding` (D,) of the whole one.
    `live` (K,) tells which maps are not constant: the masked copies of the others are the base itself. `known` (K,) tells
    which masked copies were truly run; the embeddings of the others are predicted, from `guess` (K, D) where one pass gave it.
    """

    maps: Floats = field(repr=False)
    embeddings: Floats = field(repr=False)
    base: Floats = field(repr=False)
    embedding: Floats = field(repr=False)
    frame: Frame
    live: Flags = field(repr=False)
    known: Flags = field(repr=False)
    passes: int
    preset: str
    precision: str  # of the masked passes
    backbone: str
    fingerprint: str = field(repr=False)
    picture: NDArray[np.uint8] | None = field(default=None, repr=False)
    guide: NDArray[np.uint8] | None = field(default=None, repr=False)  # (H', W', 3): the picture small, for outlines
    blank: Base = "mean"  # which blank picture `base` is of
    evidence: Mapping[str, Evidence] = field(default_factory=dict, repr=False)  # of methods that take no masked passes
    guess: Floats | None = field(default=None, repr=False)

    @cached_property
    def kernel(self) -> Kernel:
        """How alike the maps are, from which embeddings are predicted."""
        return Kernel.of(self.maps, self.live, self.guess)

    @cached_property
    def regression(self) -> Regression:
        """What the maps that were run tell of the others."""
        return Regression.begin(self.kernel, np.flatnonzero(self.known & self.live))

    @cached_property
    def outline(self) -> Outline | None:
        """The outlines of the picture, which a saliency map can follow; gathered once for all queries."""
        return None if self.guide is None else Outline(self.guide, (self.maps.shape[1], self.maps.shape[2]))

    def outline_for(self, spec: Spec) -> Outline | None:
        """The outlines that a saliency map follows under a spec, if it wants any."""
        if spec.outline == "grid":
            return None
        if self.outline is None:
            raise SceneError(
                f"spec `{spec.name}` wants `outline` = `picture`, but this scene holds no outlines of its picture; encode "
                f"the picture again, or ask with `outline` = `grid`"
            )
        return self.outline

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that this scene can be asked by."""
        alone = (*(READY if len(self.maps) else ()), *(name for name in self.evidence if METHODS[name].family != "refinement"))
        return (*alone, *(name for name, row in METHODS.items() if row.parts and set(row.parts) <= set(alone)))

    @property
    def affinity(self) -> NDArray[np.float16] | None:
        """Which patches the model's attention ties together `(n, n)`, where some method or option gathered that."""
        found = [each.arrays["affinity"] for each in self.evidence.values() if "affinity" in each.arrays]
        return found[0] if found else None

    def learn(self, embeddings: Floats, known: Flags, passes: int) -> Scene:
        """The same picture after further passes; what was worked out from its maps stays."""
        learnt = replace(self, embeddings=embeddings, known=known, passes=passes)
        learnt.__dict__.update({name: self.__dict__[name] for name in ("kernel", "outline") if name in self.__dict__})
        return learnt

    def save(self, path: str | os.PathLike[str], *, picture: bool = True) -> Path:
        """Write the scene as an `.npz` (no pickle inside), its picture as JPEG; the file appears whole or not at all."""
        from runtime.scene_files import write_scene

        return write_scene(self, path, picture=picture)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Scene:
        """Read a saved scene; a file that is missing, damaged, too large or newer raises SceneError, and nothing else does."""
        from runtime.scene_files import read_scene

        return read_scene(path)

    def about(self) -> dict[str, Any]:
        """Everything but the arrays, as plain values."""
        evidence = {name: {"made_by": each.made_by, "windows": each.windows} for name, each in self.evidence.items()}
        return {
            "schema": SCHEMA if self.guess is None else GUESSED,
            "frame": self.frame.to_dict(),
            "live": int(self.live.sum()),
            **{name: getattr(self, name) for name in ABOUT},
            **({"evidence": evidence} if evidence else {}),
        }
