"""Arguments of odd kinds and values at the front door: an answer, or one error of ours."""

from __future__ import annotations

import io
import os
import random
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine.spec import DEFAULT, PAPER
from runtime import Localizer, PictureLimits, Query, Scene, VlscoreError, read_picture
from runtime.backends.onnx_cpu import OnnxCpuBackend
from runtime.drawing import draw
from runtime.text import QueryWarning
from tests.runtime.samples import encoded, noise
from tests.torture.mutation import value
from tests.torture.opened import SHIPPED_MODEL, shipped_bundle, shipped_model, shipped_scene

REFUSALS = (VlscoreError,)
FLAGS = (True, False, None, 0, 1, "x", ())
FOLDER = tempfile.TemporaryDirectory()

# What each argument of a Localizer may be; of what is not named here only one in many is odd.
OPTIONS: dict[str, tuple[Any, ...]] = {
    "device": ("cpu", "cpu", "auto", "CPU", "cuda:99", "cuda:1", "cpu:0", "tensorrt", "openvino ", "cuda:" + "9" * 5000),
    "device_options": (None, {}, {"index": 1}, {1: 2}, [("a", 1)], "x"),
    "precision": (None, "fp32", "bf16", "tf32", "fp16", "int8", "FP32"),
    "preset": ("exact", "fast", "instant", "FAST"),
    "passes": (None, "auto", 2, 1, 0, -1, 10**9, 10**5000, 2.0),
    "refine": (None, 0, 1, -1, 10**9),
    "spec": ("default", "paper", DEFAULT, PAPER, DEFAULT.replace(outline="grid"), DEFAULT.replace(base="black")),
    "templates": ("plain", "imagenet", "a {}", ["a {}", "the {}"], (), [], [""], "none", {"a {}": 1}),
    "threads": (None, 1, 2, 0, -1, 1024, 1025, 10**5000, 1.5, True),
    "scenes_only": (True, False, None, 1),
    "sha256": (None, "0" * 64, "", "A" * 64),
    "backend": (None, OnnxCpuBackend(1)),
}


def case(rng: random.Random) -> Callable[[], None]:
    """Open the model or ask it, with something odd among the arguments."""
    os.chdir(FOLDER.name)  # where a path that is a word leads to
    kind = rng.choice((opening, opening, asking, asking, encoding, streaming, drawing, files))(rng)

    def act() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", QueryWarning)
            shipped_model().text.warned = True
            kind()

    return act


def opening(rng: random.Random) -> Callable[[], object]:
    """Open a Localizer."""
    names = rng.sample(sorted(OPTIONS), rng.choice((1, 1, 2, 3)))
    given = {name: rng.choice(OPTIONS[name]) if rng.random() < 0.7 else odd(rng) for name in names}
    given.setdefault("device", "cpu")
    model = odd(rng) if rng.random() < 0.15 else rng.choice((shipped_bundle(), shipped_bundle(), SHIPPED_MODEL))
    return lambda: Localizer(model, **given).info


def asking(rng: random.Random) -> Callable[[], object]:
    """Ask a scene, or refine one."""
    scene = shipped_scene() if rng.random() < 0.5 else odd(rng)
    query = rng.choice(("a cat", ["a", "b"], Query("a"))) if rng.random() < 0.5 else odd(rng)
    progress = odd(rng) if rng.random() < 0.2 else None
    method = rng.choice(("locate", "locate", "refine"))
    return lambda: getattr(shipped_model(), method)(scene, query, progress=progress)


def encoding(rng: random.Random) -> Callable[[], object]:
    """Encode a picture, or ask it at once."""
    picture, progress = some_picture(rng), odd(rng) if rng.random() < 0.3 else None
    if rng.random() < 0.5:
        return lambda: shipped_model().encode(picture, progress=progress)
    query = "a cat" if rng.random() < 0.5 else odd(rng)
    return lambda: shipped_model()(picture, query, progress=progress)


def streaming(rng: random.Random) -> Callable[[], object]:
    """Ask several pictures."""
    pictures = [some_picture(rng) for _ in range(rng.choice((0, 1, 2)))] if rng.random() < 0.6 else odd(rng)
    things = {name: odd(rng) for name in ("progress", "on_skip") if rng.random() < 0.2}
    given = {name: thing for name, thing in things.items() if not callable(thing)}  # what others do when called is theirs
    if rng.random() < 0.3:
        given["on_skip"] = lambda picture, error: None
    if rng.random() < 0.5:
        return lambda: list(shipped_model().scenes(pictures, **given))
    query = rng.choice(("a cat", ["a", "b"], odd(rng)))
    return lambda: list(shipped_model().stream(pictures, query, **given))


def drawing(rng: random.Random) -> Callable[[], object]:
    """Draw an answer, and write it."""
    found = shipped_model().locate(shipped_scene(), ["a cat", "a dog"])
    if rng.random() < 0.5:
        return lambda: found[0].save(odd(rng), heat=rng.choice(FLAGS))
    return lambda: draw(some_picture(rng), rng.choice((found, found[0], odd(rng))), heat=rng.choice(FLAGS))


def files(rng: random.Random) -> Callable[[], object]:
    """Read and write files by odd names, with odd limits."""
    kind, limit = rng.randrange(4), rng.choice(("pixels", "side", "frames", "scans", "seconds", "bytes"))
    if kind == 0:
        return lambda: Scene.load(odd(rng))
    if kind == 1:
        return lambda: shipped_scene().save(odd(rng), picture=rng.choice(FLAGS))
    if kind == 2 and limit in PictureLimits.__dataclass_fields__ and limit != "seconds":
        return lambda: read_picture(some_picture(rng), PictureLimits(**{limit: odd(rng)}))
    return lambda: read_picture(some_picture(rng), odd(rng), bgr=rng.choice(FLAGS))


def some_picture(rng: random.Random) -> Any:
    """A picture of some kind, or something that is none."""
    good: tuple[Callable[[], Any], ...] = (
        lambda: noise(rng.choice((1, 2, 30)), rng.choice((1, 2, 40))),
        lambda: Image.fromarray(noise(20, 30)),
        lambda: encoded(Image.fromarray(noise(20, 30)), "PNG"),
        lambda: io.BytesIO(encoded(Image.fromarray(noise(20, 30)), "JPEG")),
        lambda: noise(20, 30, rng.choice((0, 1, 2, 3, 4, 5))),
        lambda: np.asarray(noise(20, 30), dtype=rng.choice(("f4", "f8", "i4", "?", "u2", "c8", "O", "U3"))),
        lambda: np.zeros(rng.choice(((), (0,), (0, 5, 3), (2, 2, 2, 2), (1, 1, 3), (3, 20, 30))), np.uint8),
        lambda: noise(20, 30)[:: rng.choice((-1, 2)), ::-1],
    )
    return odd(rng) if rng.random() < 0.3 else rng.choice(good)()


def odd(rng: random.Random) -> Any:
    """Something of any kind; what is a name leads into the working folder."""
    things: tuple[Callable[[], Any], ...] = (
        lambda: value(rng, 3),
        lambda: rng.choice((None, True, False, ..., 1j, b"x", bytearray(b"x"), memoryview(b"xyz"), range(3))),
        lambda: rng.choice((object(), object, len, print, Localizer, np, {}, set(), frozenset(), (), [], slice(1), type(None))),
        lambda: rng.choice(
            (np.float64(0.5), np.int64(3), np.bool_(True), np.array(5), np.zeros(3), np.str_("x"), np.datetime64(0, "s"))
        ),
        lambda: rng.choice(("x", "x.png", "x.npz", "x\0y", "\ud800.png", "n" * 300, "no/x.png", ".", "", " ", "é.webp", "x.jpg")),
        lambda: rng.choice((Path("x.png"), Path(), Path("x\0"), Path("n" * 300), io.StringIO("x"), io.BytesIO())),
        lambda: rng.choice((float("nan"), -0.0, 10**400, -(10**400), 2**63, 1e400)),
        lambda: {rng.choice(("a", 1, None)): value(rng, 2)},
        lambda: iter([value(rng, 1)]),
        lambda: [odd(rng) for _ in range(2)],
        Odd,
    )
    return rng.choice(things)()


class Odd:
    """A thing whose words about itself are longer than anybody wants to read."""

    def __repr__(self) -> str:
        return "odd\n" * 5_000
