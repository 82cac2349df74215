"""The shipped model, opened once, and scenes that fit it without a pass of it being run."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path

import numpy as np

from engine.frame import Frame
from engine.manifest import Manifest, fingerprint
from runtime import Localizer, Scene
from runtime.bundles import SHIPPED, Bundle, open_bundle
from tests.runtime.samples import noise

SHIPPED_MODEL = SHIPPED / "demo-rn"
PICTURE_HW = (40, 60)


@cache
def shipped_bundle() -> Bundle:
    """The shipped bundle."""
    return open_bundle(SHIPPED_MODEL)


@cache
def shipped_model() -> Localizer:
    """The shipped model in its quickest way: a picture costs one pass."""
    return Localizer(shipped_bundle(), device="cpu", threads=1, preset="instant")


@cache
def shipped_scene() -> Scene:
    """A scene that the shipped model answers."""
    return scene_for(shipped_bundle().manifest)


def scene_for(manifest: Manifest) -> Scene:
    """A made-up scene that a bundle takes for its own."""
    rng, maps = np.random.default_rng(0), manifest.maps
    rows = rng.standard_normal((maps.count + 2, manifest.dim)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    grid = rng.random((maps.count, maps.height, maps.width), dtype=np.float32)
    frame, every = Frame.fit(PICTURE_HW, manifest.image.side, "squash"), np.ones(maps.count, dtype=bool)
    about = ("exact", manifest.precision, manifest.backbone, fingerprint(manifest))
    guide = noise(maps.height * 16, maps.width * 16)
    picture = noise(*PICTURE_HW)
    return Scene(grid, rows[:-2], rows[-2], rows[-1], frame, every, every, maps.count, *about, picture, guide)


def emptied(folder: Path) -> Path:
    """A folder with nothing in it, whatever was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
