"""Damaged scene files: a whole scene that can be asked, or one SceneError."""

from __future__ import annotations

import io
import json
import random
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine.saliency import normalise
from runtime import Scene, SceneError
from tests.runtime.samples import encoded, noise
from tests.runtime.test_scene_files import made, npy
from tests.torture.mutation import FLOATS, damaged, value

REFUSALS = (SceneError,)
FOLDER = tempfile.TemporaryDirectory()


def case(rng: random.Random) -> Callable[[], None]:
    """Damage a good file, or one of its members behind a right checksum."""
    data = rng.choice(seeds())
    data = damaged(rng, data, len(data)) if rng.random() < 0.3 else rewritten(rng, data)
    path, again = Path(FOLDER.name, "case.npz"), rng.random() < 0.1
    path.write_bytes(data)

    def load() -> None:
        scene = Scene.load(path)
        assert scene.maps.shape[0] == len(scene.embeddings) == len(scene.live) == len(scene.known)
        assert scene.picture is None or scene.picture.shape[:2] == scene.frame.picture_hw
        scene.frame.rows(scene.maps.shape[1])
        if scene.outline is not None:
            assert np.isfinite(scene.outline.follow(normalise(scene.maps[0]))).all()
        assert np.isfinite((scene.embeddings - scene.base) @ scene.embedding).all()
        if again:
            scene.save(path.with_name("again.npz"))

    return load


def rewritten(rng: random.Random, data: bytes) -> bytes:
    """Change members, and write the archive anew."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    original = tuple(members)
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(members))
        name, content = members[at]
        kind = rng.randrange(8)
        if kind == 0:
            members.pop(at)
        elif kind == 1:
            members.append((rng.choice(("maps.npy", "x", "../maps.npy", name)), content))
        elif kind == 2:
            members[at] = name, damaged(rng, content, 128)
        elif kind == 3 and name == "jpeg.npy":
            picture = encoded(Image.fromarray(noise(40, 60)), rng.choice(("JPEG", "PNG", "EPS", "TIFF")))
            members[at] = name, npy(np.frombuffer(damaged(rng, picture) if rng.random() < 0.5 else picture, np.uint8))
        elif name == "about.npy" and content == dict(original)[name]:
            members[at] = name, npy(np.frombuffer(json.dumps(told(rng, content)).encode(), np.uint8))
        else:
            members[at] = name, array(rng, content)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", rng.choice((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,))) as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, archive.compression)
    return stream.getvalue()


def told(rng: random.Random, content: bytes) -> Any:
    """A description with a field changed, anywhere in it."""
    about = json.loads(bytes(np.load(io.BytesIO(content))))
    place = about["frame"] if rng.random() < 0.4 else about
    place[rng.choice([*place, "other"])] = value(rng, 3)
    return about


def array(rng: random.Random, content: bytes) -> bytes:
    """An array with some values, its shape or its type changed."""
    try:
        found = np.load(io.BytesIO(content)).copy()
    except Exception:  # changed before, and NumPy evaluates headers
        return damaged(rng, content, 128)
    kind = rng.randrange(4)
    if kind == 0 and found.size and found.dtype.kind == "f":
        found.flat[rng.randrange(found.size)] = rng.choice(FLOATS)
    elif kind == 1 and found.size:
        found = found[: rng.randrange(len(found) + 1)]
    elif kind == 2:
        found = found.reshape(rng.choice(((-1,), (1, *found.shape), (*found.shape, 1))))
    else:
        with np.errstate(all="ignore"):
            found = found.astype(rng.choice(("<f2", "<f4", "<f8", ">f4", "u1", "?", "<i8", "<c8")))
    return npy(found, allow_pickle=False)


@cache
def seeds() -> list[bytes]:
    """Good scenes of every kind."""
    files = []
    for preset, picture in (("exact", True), ("fast", True), ("instant", False)):
        files.append(made(preset).save(Path(FOLDER.name, "seed.npz"), picture=picture).read_bytes())
    return files
