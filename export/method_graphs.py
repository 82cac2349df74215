"""The graphs of further methods, written beside those of a bundle: they point into the weights that are there."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from torch.nn import functional as F

from engine.manifest import DENSE, PROMPTED, FileInfo, Manifest
from engine.methods import Method, MethodError, Tower, named_methods
from export import show
from export.assemble import Parts, Write, take_apart, writer
from export.comparison import gate_pictures
from export.dense_graphs import Looker, looker, tower_of
from export.gate import GateError
from export.graphs import Pixels
from export.onnx_files import WeightsFile, run_once, save_graph, turn_where_known
from export.options import BuildOptions, Precision
from export.reference import Floats
from export.weights import Loaded
from runtime.errors import ArgumentError
from runtime.filling.origin import sha256_of
from runtime.preprocess import fit_to_square

SHARED = "image.onnx.weights"  # where the graphs of pictures keep their weights
PROMPTS = 8  # texts per run of a graph that words go into
ALLOWED = {"fp32": 1e-3, "fp16": 2e-1}  # largest difference from PyTorch, relative to the largest value


def asked_methods(names: str, tower: Tower) -> tuple[Method, ...]:
    """The methods of these names; raises ArgumentError for one that is unknown, or not defined for this kind of tower."""
    try:
        return named_methods(names, tower)
    except MethodError as error:
        raise ArgumentError(str(error)) from None


def add_methods(
    folder: Path, manifest: Manifest, loaded: Loaded, methods: Sequence[Method], side: int, report: show.Report
) -> Manifest:
    """Write the graphs of methods into the folder of a bundle, compare them with PyTorch, and list them in its manifest."""
    precision: Precision = "fp16" if manifest.precision == "fp16" else "fp32"
    parts = take_apart(loaded, BuildOptions(precision=precision))
    plain = parts if precision == "fp32" else take_apart(loaded, BuildOptions())
    graphs, infos = dict(manifest.graphs), dict(manifest.methods)
    shared = known_weights(folder)
    write = writer(folder, graphs, report, save_sharing)
    for method in methods:
        made = look_with(parts, method, loaded, side)
        for old in (*folder.glob(f"{DENSE}{method.name}.onnx*"), *folder.glob(f"{PROMPTED}{method.name}.onnx*")):
            old.unlink()
        write_method(write, method.name, made, parts, shared)
        error = compare(folder, method.name, look_with(plain, method, loaded, side), manifest)
        if not error <= ALLOWED[precision]:
            raise GateError(f"the graph of `{method.name}` is {error:.3g} from PyTorch, allowed {ALLOWED[precision]:.3g}")
        infos[method.name] = dataclasses.replace(made.info, parity={"error": float(f"{error:.4g}")})
    return dataclasses.replace(manifest, graphs=graphs, methods=infos, files=described(folder, manifest))


def write_method(write: Write, method: str, made: Looker, parts: Parts, shared: WeightsFile) -> None:
    """Write the graph that looks at a picture for a method, and the one that its words go into, as far as it has them."""

    def own(name: str) -> WeightsFile:
        return WeightsFile(shared.path.with_name(f"{name}.onnx.weights"), shared=shared)

    look, ask = f"{DENSE}{method}", f"{PROMPTED}{method}"
    if made.module is not None:
        pixels = {"pixels": torch.zeros(1, made.side, made.side, 3, dtype=torch.uint8)}
        write(look, made.module, pixels, made.outputs, own(look))
    if made.asks is not None:
        tokens = made.info.height * made.info.width + (tower_of(parts.encoder) == "vit")
        inputs = {"stream": torch.rand(tokens, made.info.channels), "texts": torch.rand(PROMPTS, parts.dim)}
        write(ask, made.asks, inputs, ("maps",) if made.module is not None else made.outputs, own(ask))


def save_sharing(model: onnx.ModelProto, path: Path, weights: WeightsFile) -> None:
    """Write a graph that points into the weights which are there, whichever way round they lie."""
    if weights.shared is not None:
        turn_where_known(model, weights.shared)
    save_graph(model, path, weights)


def look_with(parts: Parts, method: Method, loaded: Loaded, side: int) -> Looker:
    """The graph of a method on towers at their precision."""
    pixels = Pixels(loaded.preprocessing.mean, loaded.preprocessing.std)
    return looker(method, parts.encoder, loaded.model.visual, pixels, parts.dtype, side or parts.side)


@torch.no_grad()
def compare(folder: Path, name: str, made: Looker, manifest: Manifest) -> float:
    """The largest difference of a method's graphs from PyTorch on real pictures, relative to the largest value of each output."""
    errors = []
    texts = F.normalize(torch.randn(PROMPTS, manifest.dim, generator=torch.Generator().manual_seed(0)), dim=-1)
    for picture, _ in gate_pictures():
        square, _ = fit_to_square(picture, made.side, "squash", manifest.image.resample, manifest.image.mean)
        pixels = {"pixels": square[np.newaxis]}
        if made.module is not None:
            wanted = made.module.eval()(torch.from_numpy(square)[None])
            errors += differences(run_once(folder / f"{DENSE}{name}.onnx", pixels), wanted)
            stream = wanted[0]
        else:
            stream = torch.from_numpy(run_once(folder / "image.onnx", pixels)[0]).flatten(1).t().contiguous()
        if made.asks is not None:
            given = {"stream": stream.numpy(), "texts": texts.numpy()}
            asked = made.asks.eval()(stream, texts)
            errors += differences(run_once(folder / f"{PROMPTED}{name}.onnx", given), (asked,))
    return float(np.max(errors))  # NaN if one is: Python's own `max` would pass over it


def differences(ours: Sequence[Floats], theirs: Sequence[torch.Tensor]) -> list[float]:
    """The largest difference of each array, relative to its largest value."""
    pairs = [(one, other.numpy()) for one, other in zip(ours, theirs, strict=True)]
    return [float(np.abs(one - other).max() / max(np.abs(other).max(), 1e-12)) for one, other in pairs]


def known_weights(folder: Path) -> WeightsFile:
    """The weights that the graphs of pictures share, so that new graphs point to what is there."""
    shared, places = WeightsFile(folder / SHARED), dict[int, int]()
    for path in sorted(folder.glob("*.onnx")):
        for tensor in onnx.load(path, load_external_data=False).graph.initializer:
            where = {entry.key: entry.value for entry in tensor.external_data}
            if where.get("location") == SHARED:
                places[int(where["offset"])] = int(where["length"])
    with shared.path.open("rb") as file:
        for offset, length in places.items():
            file.seek(offset)
            shared.know(file.read(length), offset)
    return shared


def described(folder: Path, manifest: Manifest) -> dict[str, FileInfo]:
    """The sizes and hashes of all files as they are now; only those of methods are read again."""
    known = manifest.files
    return {
        path.name: known[path.name]
        if path.name in known and not path.name.startswith((DENSE, PROMPTED))
        else FileInfo(path.stat().st_size, sha256_of(path))
        for path in sorted(folder.iterdir())
        if path.name != "manifest.json"
    }
