"""An encoded picture: all that any query needs of it, kept in memory or in a file."""

from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.frame import Frame
from engine.masks import live_maps
from engine.outline import Outline
from engine.prediction import MaskKernel
from runtime.errors import SceneError
from runtime.files import write_atomically

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

SCHEMA = 2
ARRAYS = ("maps", "embeddings", "base", "embedding")
ABOUT = ("passes", "preset", "precision", "backbone", "fingerprint")
JPEG_QUALITY = 90


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture after its masked passes: ask it anything, as often as you like, for a matrix product each time.

    `embeddings` (K, D) are of the masked copies, `base` (D,) of the blank picture, `embedding` (D,) of the whole one.
    `live` (K,) tells which maps are not constant: the masked copies of the others are the base itself. `known` (K,) tells
    which masked copies were truly run; the embeddings of the others are predicted.
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

    @cached_property
    def kernel(self) -> MaskKernel:
        """How alike the masks are, from which embeddings are predicted."""
        return MaskKernel.of(self.maps, self.live)

    @cached_property
    def outline(self) -> Outline | None:
        """The outlines of the picture, which a saliency map can follow; gathered once for all queries."""
        return None if self.guide is None else Outline(self.guide, (self.maps.shape[1], self.maps.shape[2]))

    def learn(self, embeddings: Floats, known: Flags, passes: int) -> Scene:
        """The same picture after further passes; what was worked out from its maps stays."""
        learnt = replace(self, embeddings=embeddings, known=known, passes=passes)
        learnt.__dict__.update({name: self.__dict__[name] for name in ("kernel", "outline") if name in self.__dict__})
        return learnt

    def save(self, path: str | os.PathLike[str], *, picture: bool = True) -> Path:
        """Write the scene as an `.npz` (no pickle inside), its picture as JPEG; the file appears whole or not at all."""
        target = Path(path)
        if not target.parent.is_dir():
            raise SceneError(f"scene `{target}` cannot be saved: the folder `{target.parent}` does not exist; make it first")
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in ARRAYS}
        if picture and self.picture is not None:
            arrays["jpeg"] = np.frombuffer(to_jpeg(self.picture), dtype=np.uint8)
        if self.guide is not None:
            arrays["guide"] = self.guide
        if self.preset != "exact":
            arrays["known"] = self.known
        arrays["about"] = np.frombuffer(json.dumps(self.about()).encode(), dtype=np.uint8)
        write_atomically(target, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
        return target

    def about(self) -> dict[str, Any]:
        """Everything but the arrays, as plain values."""
        return {
            "schema": SCHEMA,
            "frame": self.frame.to_dict(),
            "live": int(self.live.sum()),
            **{name: getattr(self, name) for name in ABOUT},
        }

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Scene:
        """Read a saved scene; a file that is missing, broken or newer raises SceneError."""
        try:
            with np.load(path, allow_pickle=False) as file:
                about = dict(json.loads(bytes(file["about"])))
                arrays = {name: np.ascontiguousarray(file[name], dtype=np.float32) for name in ARRAYS}
                picture = from_jpeg(bytes(file["jpeg"])) if "jpeg" in file else None
                known = np.asarray(file["known"], dtype=bool) if "known" in file else None
                guide = np.ascontiguousarray(file["guide"], dtype=np.uint8) if "guide" in file else None
        except FileNotFoundError:
            raise SceneError(f"scene `{path}` does not exist") from None
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise SceneError(f"`{path}` is not a saved scene, or is damaged ({error}); encode the picture again") from error
        if about.get("schema") != SCHEMA:
            found = about.get("schema")
            raise SceneError(f"scene `{path}` has schema {found}, this version reads {SCHEMA}; encode the picture again")
        check_shapes(arrays, path)
        if guide is not None and (guide.ndim != 3 or guide.shape[2] != 3 or guide.size == 0):
            raise SceneError(f"scene `{path}` is damaged: its outlines have the shape {guide.shape}; encode the picture again")
        if known is None:  # only scenes with predicted embeddings say which maps were run
            known = np.ones(len(arrays["maps"]), dtype=bool)
        if known.shape != arrays["maps"].shape[:1]:
            raise SceneError(f"scene `{path}` is damaged: it tells of {known.shape} known maps; encode the picture again")
        try:
            values: dict[str, Any] = {**arrays, **{name: about[name] for name in ABOUT}}
            frame, live = Frame.from_dict(about["frame"]), live_maps(arrays["maps"])
            return cls(**values, frame=frame, live=live, picture=picture, guide=guide, known=known)
        except (KeyError, TypeError, ValueError) as error:
            raise SceneError(f"scene `{path}` is damaged ({error}); encode the picture again") from error


def check_shapes(arrays: dict[str, Floats], path: str | os.PathLike[str]) -> None:
    """Refuse arrays that do not belong together or hold anything that is not a number."""
    count, dim = arrays["embeddings"].shape if arrays["embeddings"].ndim == 2 else (-1, -1)
    maps = arrays["maps"]
    fits = maps.ndim == 3 and len(maps) == count and arrays["base"].shape == arrays["embedding"].shape == (dim,)
    if not fits or not all(np.isfinite(array).all() for array in arrays.values()):
        raise SceneError(f"scene `{path}` is damaged: its arrays do not fit each other; encode the picture again")


def to_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Compress a picture for drawing on later."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def from_jpeg(data: bytes) -> NDArray[np.uint8]:
    """Read a picture that `to_jpeg` made."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
