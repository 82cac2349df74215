"""How long each method takes on a backbone with seeded weights: to look at a picture, and to answer one question more.

Only the graphs are built, into a folder that is gone afterwards. Every method gets one turn per round, odd rounds backwards; the
figures are medians over the rounds with the middle half of them, and in units of the `image` graph, one plain pass, of the same
run. With clones of the authors' repositories their code takes its turns too, in PyTorch, on the same weights. What follows a map
(outlines, pixels, boxes) is the same for all and not in here. Masked passes are timed by `bench.compare`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.methods.authors import Look, authors
from engine import dense
from engine.dense import Words
from engine.manifest import DENSE, PROMPTED
from engine.methods import Method, named_methods
from export.assemble import Parts, take_apart, writer
from export.backbones import find_backbone
from export.dense_graphs import looker
from export.graphs import ImageGraph, Pixels
from export.method_graphs import PROMPTS, save_sharing
from export.onnx_files import WeightsFile
from export.options import BuildOptions
from export.sources import find_source
from export.weights import Loaded, load
from runtime.backends.session import Session
from runtime.devices import open_backend
from runtime.threads import default_threads

NOUNS = 25  # of backgrounds, that compete


@dataclass
class Timed:
    """A method's graphs, what they take, and how long they took: milliseconds, a figure for each round."""

    method: Method
    looks: Session
    asks: Session | None
    look_ms: list[float] = field(default_factory=list)
    ask_ms: list[float] = field(default_factory=list)
    theirs: Look | None = None  # the authors' own code
    theirs_ms: list[float] = field(default_factory=list)

    def turn(self, square: NDArray[np.uint8], words: Words) -> None:
        """Look once and ask once more."""
        took, found = timed(partial(self.looks.run, {"pixels": square}))
        self.look_ms.append(took)
        if self.theirs is not None:
            picture = torch.from_numpy(square).permute(0, 3, 1, 2) / 127.5 - 1
            self.theirs_ms.append(timed(partial(self.theirs, picture))[0])
        if self.method.family == "refinement":
            return
        timed(partial(self.ask, found, words))
        self.ask_ms.append(timed(partial(self.ask, found, words))[0])

    def ask(self, found: dict[str, NDArray[np.float32]], words: Words) -> NDArray[np.float32]:
        """One question more, as the runtime asks it."""
        if self.asks is not None:
            texts = np.zeros((PROMPTS, words.asked.shape[1]), np.float32)
            texts[:1] = words.asked
            return self.asks.run({"stream": found["stream"], "texts": texts})["maps"]
        features = found["features"].reshape(len(found["features"]), -1, words.asked.shape[1])
        if self.method.ask == "layers":
            return dense.layers(features, words, self.method.kappa, found["attention"])
        if self.method.ask == "surgery":
            return dense.surgery(features, words, found["embedding"])
        ask = dense.positive if self.method.ask == "relu" else partial(dense.shares, kappa=self.method.kappa)
        return ask(features, words)


def measure(backbone: str, chosen: Sequence[str], rounds: int, repositories: Path | None = None) -> list[dict[str, Any]]:
    """Time methods on a backbone, a row each."""
    torch.set_num_threads(default_threads())
    known = find_backbone(backbone)
    loaded = load(known, find_source(known, "none", None), 0)
    parts = take_apart(loaded, BuildOptions())
    named = named_methods(",".join(chosen) or "all", known.family)
    methods = [method for method in named if method.family != "masked"]
    theirs: dict[str, Look] = {}
    if repositories is not None and known.family == "vit":
        theirs = {row.method: look for row, look in authors(repositories, loaded.model.visual)}
    with tempfile.TemporaryDirectory() as place:
        write_graphs(Path(place), loaded, parts, methods)
        backend = open_backend("cpu")
        unit = backend.open(Path(place) / "image.onnx")
        turns = [opened(backend.open, Path(place), method, theirs.get(method.name)) for method in methods]
        rng = np.random.default_rng(0)
        square = rng.integers(0, 256, (1, parts.side, parts.side, 3), dtype=np.uint8)
        vectors = rng.standard_normal((NOUNS + 2, parts.dim)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        words, passes = Words(vectors[:1], vectors[1:-1], vectors[-1]), list[float]()
        for number in range(rounds + 1):
            for one in turns if number % 2 == 0 else reversed(turns):
                one.turn(square, words)
            passes.append(timed(partial(unit.run, {"pixels": square}))[0])
    base = float(np.median(passes[1:]))  # the first round warms up
    return [row(one, base) for one in turns]


def write_graphs(folder: Path, loaded: Loaded, parts: Parts, methods: Sequence[Method]) -> None:
    """Write the image graph, and those of the methods, which share its weights."""
    pixels = Pixels(loaded.preprocessing.mean, loaded.preprocessing.std)
    write = writer(folder, {}, print, save_sharing)
    square = {"pixels": torch.zeros(1, parts.side, parts.side, 3, dtype=torch.uint8)}
    shared = WeightsFile(folder / "image.onnx.weights")
    write("image", ImageGraph(pixels, parts.encoder, parts.dtype), square, ("maps", "embedding"), shared)
    for method in methods:
        made = looker(method, parts.encoder, loaded.model.visual, pixels, parts.dtype, parts.side)
        own = WeightsFile(folder / f"{method.name}.onnx.weights", shared=shared)
        if made.module is None:
            continue
        write(f"{DENSE}{method.name}", made.module, square, made.outputs, own)
        if made.asks is not None:
            stream = made.module(square["pixels"])[0].detach()
            given = {"stream": stream, "texts": torch.rand(PROMPTS, parts.dim)}
            write(f"{PROMPTED}{method.name}", made.asks, given, ("maps",), own)


def opened(open_graph: Callable[[Path], Session], folder: Path, method: Method, theirs: Look | None) -> Timed:
    """A method's graphs, ready to run."""
    asks = folder / f"{PROMPTED}{method.name}.onnx"
    looks = open_graph(folder / f"{DENSE}{method.name}.onnx")
    return Timed(method, looks, open_graph(asks) if asks.exists() else None, theirs=theirs)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds, and what came of them."""
    began = time.perf_counter()
    given = work()
    return 1000 * (time.perf_counter() - began), given


def row(one: Timed, unit: float) -> dict[str, Any]:
    """Medians and middle halves, without the first round."""
    look = np.percentile(one.look_ms[1:], (50, 25, 75))
    ask = np.percentile(one.ask_ms[1:], (50, 25, 75)) if one.ask_ms else np.zeros(3)
    return {
        "method": one.method.name,
        "pass_ms": round(unit, 2),
        "look_ms": look.round(2).tolist(),
        "passes_long": round(float(look[0]) / unit, 3),
        "ask_ms": ask.round(3).tolist(),
        **({"theirs_ms": np.percentile(one.theirs_ms[1:], (50, 25, 75)).round(2).tolist()} if one.theirs_ms else {}),
    }
