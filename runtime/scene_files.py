"""Scenes in files: written whole or not at all; read with a check of everything, as if from a stranger."""

from __future__ import annotations

import io
import json
import math
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.frame import Frame
from engine.masks import live_maps
from engine.methods import METHODS
from engine.records import from_json, shown
from engine.spec import Base
from runtime.errors import PictureError, SceneError
from runtime.evidence import KEPT, Evidence
from runtime.files import write_atomically
from runtime.picture_limits import PictureLimits, check_size
from runtime.pictures import Pixels, from_file
from runtime.presets import Preset
from runtime.scene import ARRAYS, GUESSED, SCHEMA, Flags, Floats, Scene
from runtime.stored_arrays import DamagedError, StoredArray, stored_arrays

JPEG_QUALITY = 90
EVIDENCE = frozenset(f"{method}.{array}" for method in METHODS for array in KEPT)
NAMES = frozenset({*ARRAYS, *EVIDENCE, "about", "jpeg", "guide", "known", "guess"})
KINDS = {"about": "u", "jpeg": "u", "guide": "u", "known": "b"}  # of numpy's dtypes; the others hold floats

# No model comes near these.
MOST_MAPS, LONGEST_SIDE, MOST_DIMENSIONS = 65_536, 512, 8_192
MOST_NUMBERS, MOST_WINDOWS = 1 << 28, 1_000_000
LONGEST_ABOUT, LONGEST_WORD, LONGEST_GUIDE, LARGEST_SQUARE = 16_384, 200, 8_192, 8_192
LARGEST_MAP = 1e6
UNIT = 1e-2  # how far the length of an embedding may be from 1, in half precision too
LONGEST_PREDICTION = 10.0  # predicted embeddings have about length 1


@dataclass(frozen=True)
class AboutEvidence:
    """What made a method's evidence."""

    made_by: str
    windows: int


@dataclass(frozen=True)
class About:
    """Everything of a scene but its arrays, as `Scene.about` gives it."""

    schema: int
    frame: Frame
    live: int
    passes: int
    preset: Preset
    precision: str
    backbone: str
    fingerprint: str
    blank: Base = "mean"  # scenes from before the field were all scored against it, or did not say
    evidence: dict[str, AboutEvidence] = field(default_factory=dict)


def write_scene(scene: Scene, path: str | os.PathLike[str], *, picture: bool) -> Path:
    """Write a scene and give its path; whatever hinders that is a SceneError, and leaves what was there."""
    refuse_other_than_path(path)
    try:
        target = Path(path)
        if not target.parent.is_dir():
            raise SceneError(f"scene `{target}` cannot be saved: the folder `{target.parent}` does not exist; make it first")
        arrays: dict[str, NDArray[Any]] = {name: np.ascontiguousarray(getattr(scene, name)) for name in ARRAYS}
        if picture and scene.picture is not None:
            arrays["jpeg"] = np.frombuffer(to_jpeg(scene.picture), dtype=np.uint8)
        if scene.guide is not None:
            arrays["guide"] = np.ascontiguousarray(scene.guide)
        if scene.preset != "exact":
            arrays["known"] = scene.known
        for method, evidence in scene.evidence.items():
            arrays |= {f"{method}.{name}": np.ascontiguousarray(values) for name, values in evidence.arrays.items()}
        if scene.guess is not None and (scene.known & scene.live).any():  # else it is what `embeddings` holds
            arrays["guess"] = np.ascontiguousarray(scene.guess)
        arrays["about"] = np.frombuffer(json.dumps(scene.about()).encode(), dtype=np.uint8)
        write_atomically(target, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]
    except SceneError:
        raise
    except (OSError, ValueError, TypeError) as error:  # no room, no permission, a NUL in the path, a picture too long for JPEG
        raise SceneError(f"scene `{path}` cannot be saved ({error}); choose another place") from error
    return target


def read_scene(path: str | os.PathLike[str]) -> Scene:
    """Read a scene; raises SceneError for whatever is no scene, and makes no more room than the file itself takes."""
    refuse_other_than_path(path)
    try:
        # Not to wait for the other end of a pipe.
        with open(os.fspath(path), "rb", opener=lambda path, flags: os.open(path, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise DamagedError("it is no regular file")
            with np.errstate(all="ignore"):  # what overflows is refused as infinite
                return _read(file, found.st_size)
    except FileNotFoundError:
        raise SceneError(f"scene `{path}` does not exist") from None
    except NewerError as error:
        raise SceneError(f"scene `{path}` {error}; encode the picture again") from None
    except Exception as error:  # a stranger's bytes may raise anything, and all of it means the same
        found_fault = str(error)[:500] or type(error).__name__
        raise SceneError(f"`{path}` is not a saved scene, or is damaged ({found_fault}); encode the picture again") from error


def refuse_other_than_path(path: object) -> None:
    """Refuse what cannot be a file's name: a whole number would be taken for a file that is open already."""
    if not isinstance(path, str | os.PathLike):
        raise SceneError(f"`path` of a scene must name a file, found {shown(path)} ({type(path).__name__})")


class NewerError(ValueError):
    """The scene is of a schema that this version does not know."""


def _read(file: IO[bytes], size: int) -> Scene:
    stored = stored_arrays(file, size, NAMES)
    for name in NAMES & stored.keys():
        if stored[name].dtype.kind != KINDS.get(name, "f"):
            raise DamagedError(f"its `{name}` is of type {stored[name].dtype}")
    for name in (*ARRAYS, "about"):
        if name not in stored:
            raise DamagedError(f"it has no `{name}`")
    about = _about(file, stored["about"])
    _check_shapes({name: array.shape for name, array in stored.items()}, bool(about.evidence))
    arrays: dict[str, Floats] = {name: stored[name].read(file).astype(np.float32, copy=False) for name in ARRAYS}
    count = len(arrays["maps"])
    live, known = live_maps(arrays["maps"]) if count else np.zeros(0, dtype=bool), np.ones(count, dtype=bool)
    if "known" in stored:  # only scenes with predicted embeddings say which maps were run
        known = stored["known"].read(file).view(np.uint8) != 0
    _check_values(arrays, live, known, about)
    guess = _guess(file, stored, arrays["embeddings"]) if about.schema == GUESSED else None
    return Scene(
        **arrays,
        guess=guess,
        frame=about.frame,
        live=live,
        known=known,
        passes=about.passes,
        preset=about.preset,
        precision=about.precision,
        backbone=about.backbone,
        fingerprint=about.fingerprint,
        picture=_picture(stored["jpeg"].read(file).tobytes(), about.frame) if "jpeg" in stored else None,
        guide=stored["guide"].read(file) if "guide" in stored else None,
        blank=about.blank,
        evidence={name: _evidence(file, name, each, stored) for name, each in about.evidence.items()},
    )


def _evidence(file: IO[bytes], method: str, about: AboutEvidence, stored: dict[str, StoredArray]) -> Evidence:
    """A method's evidence, whose arrays must lie on the scene's grid."""
    (_, height, width), dim = stored["maps"].shape, stored["base"].shape[0]
    cells = height * width
    shapes = {"features": (height, width, dim), "attention": (cells,), "affinity": (cells,), "patches": ()}
    names = [name for name in KEPT if f"{method}.{name}" in stored]
    if not names or about.windows < 0:
        raise DamagedError(f"it tells of {shown(method)}, and holds nothing of it")
    arrays = {}
    for name in names:
        found = stored[f"{method}.{name}"]
        tail = found.shape[1:] if name == "stream" else shapes[name]  # whose width is the model's own affair
        if found.dtype != KEPT[name] or found.shape[1:] != tail or not 0 < math.prod(found.shape) <= MOST_NUMBERS:
            raise DamagedError(f"its {name} of {shown(method)} are {found.shape} of {found.dtype}")
        arrays[name] = found.read(file)
        if not np.isfinite(arrays[name]).all():
            raise DamagedError(f"its {name} of {shown(method)} hold values that no model gives")
    return Evidence(arrays, about.made_by, about.windows)


def _about(file: IO[bytes], stored: StoredArray) -> About:
    if len(stored.shape) != 1 or stored.shape[0] > LONGEST_ABOUT:
        raise DamagedError(f"its description takes {stored.shape} bytes")
    told = json.loads(stored.read(file).tobytes().decode())
    schema = told.get("schema") if isinstance(told, dict) else None
    if isinstance(schema, int) and schema not in (SCHEMA, GUESSED):
        raise NewerError(f"has schema {schema:.0f}, this version reads {SCHEMA} and {GUESSED}")
    about = from_json(About, told, "about")
    frame = about.frame
    check_size(frame.picture_hw[::-1], "of the scene", PictureLimits())
    if not 1 <= frame.side <= LARGEST_SQUARE or frame != Frame.fit(frame.picture_hw, frame.side, frame.geometry):
        raise DamagedError(f"its picture of {frame.picture_hw} pixels does not lie so on a square of {frame.side}")
    for name in ("precision", "backbone", "fingerprint"):
        word = getattr(about, name)
        if not 0 < len(word) <= LONGEST_WORD or not word.isprintable():
            raise DamagedError(f"its `{name}` is {shown(word, 60)}")
    return about


def _check_shapes(shapes: dict[str, tuple[int, ...]], evidence: bool) -> None:
    """Refuse shapes that do not fit each other, or no model."""
    maps, embeddings, guide = shapes["maps"], shapes["embeddings"], shapes.get("guide", (1, 1, 3))
    fits = (
        len(maps) == 3
        and embeddings == (maps[0], *shapes["base"])
        and shapes["base"] == shapes["embedding"]
        and shapes.get("known", maps[:1]) == maps[:1]
        and shapes.get("guess", embeddings) == embeddings
        and len(shapes.get("jpeg", (1,))) == 1
        and len(guide) == 3
        and guide[2] == 3
    )
    if not fits or 0 in (*maps[1:], *embeddings[1:], *guide) or (0 in maps and not evidence):
        raise DamagedError("its arrays do not fit each other")
    bounds = (MOST_MAPS, LONGEST_SIDE, LONGEST_SIDE, MOST_DIMENSIONS, LONGEST_GUIDE, LONGEST_GUIDE)
    if any(found > most for found, most in zip((*maps, embeddings[1], *guide[:2]), bounds, strict=True)):
        raise DamagedError(f"its maps of {maps} or embeddings of {embeddings[1]} are larger than any model's")


def _check_values(arrays: dict[str, Floats], live: Flags, known: Flags, about: About) -> None:
    """Refuse numbers that no encoder gives."""
    largest = float(np.abs(arrays["maps"]).max(initial=0))
    norms = np.concatenate([_norms(arrays["embeddings"]), _norms(arrays["base"][None]), _norms(arrays["embedding"][None])])
    sure = np.concatenate([known, [len(live) > 0, True]])  # without masked passes nothing is held against a base
    # Written so that NaN is refused too.
    if not (largest <= LARGEST_MAP and (np.abs(norms[sure] - 1) <= UNIT).all() and (norms <= LONGEST_PREDICTION).all()):
        raise DamagedError("its arrays hold values that no model gives")
    if not (known | live).all() or (about.preset == "exact" and not known.all()) or about.live != live.sum():
        raise DamagedError(f"it tells of {about.live} live maps and {known.sum()} known ones, and has {live.sum()} live ones")
    if not 0 <= about.passes <= (MOST_WINDOWS if about.evidence else max(1, len(live))):
        raise DamagedError(f"it tells of {about.passes} passes for {len(live)} maps")


def _guess(file: IO[bytes], stored: dict[str, StoredArray], embeddings: Floats) -> Floats:
    """What the predictions of a scene began with; where nothing was run since, they are it."""
    if "guess" not in stored:
        return embeddings
    guess: Floats = stored["guess"].read(file).astype(np.float32, copy=False)
    if not (_norms(guess) <= LONGEST_PREDICTION).all():
        raise DamagedError("its guess holds values that no model gives")
    return guess


def _norms(rows: Floats) -> Floats:
    return np.asarray(np.sqrt(np.einsum("kd,kd->k", rows, rows)))


def _picture(data: bytes, frame: Frame) -> Pixels:
    height, width = frame.picture_hw
    limits = PictureLimits(pixels=height * width, side=max(height, width))
    try:
        picture = from_file(io.BytesIO(data), len(data), "inside", limits, formats=("JPEG",))
    except PictureError as error:
        raise DamagedError(f"its picture is none: {error}") from error
    if picture.shape[:2] != frame.picture_hw:
        raise DamagedError(f"its picture has {picture.shape[:2]} pixels, and {frame.picture_hw} are told of")
    return picture


def to_jpeg(picture: Pixels) -> bytes:
    """Compress a picture for drawing on later."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
