"""The ranges that activations take while real masked pictures pass through the encoder: what int8 is scaled by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from runtime import Localizer
from runtime.bundles import Bundle, open_bundle
from runtime.pictures import read_picture
from runtime.threads import default_threads

PASSES = 256  # in all; whole batches, so a few more
Ranges = dict[str, tuple[float, float]]
Inputs = dict[str, NDArray[Any]]


def open_small(folder: Path) -> Bundle:
    """A bundle that runs its passes by the graph of a smaller batch, where it has one: few are run here, on a processor."""
    bundle = open_bundle(folder)
    graphs = dict(bundle.manifest.graphs)
    small = graphs.pop("masked-small", graphs["masked"])
    manifest = replace(bundle.manifest, batch=small.inputs["which"][1][0], graphs={**graphs, "masked": small})
    return replace(bundle, manifest=manifest)


def passes(bundle: Bundle, pictures: Sequence[Path]) -> Iterator[Inputs]:
    """A bundle's masked passes on pictures, evenly chosen from each one's live maps, in full batches; the first is blank."""
    localizer = Localizer(bundle, device="cpu")
    encoder, size = localizer.encoder, localizer.manifest.batch
    each = max(size, -(-PASSES // len(pictures)))
    for number, path in enumerate(pictures):
        scene, pixels = encoder.look(read_picture(path))
        live = np.flatnonzero(scene.live)
        chosen = live[np.linspace(0, len(live) - 1, min(each, len(live))).astype(int)]
        maps = scene.maps[chosen]
        if number == 0:
            maps[0] = 0  # the blank picture, whatever is behind it
        yield from encoder.batches(pixels, maps)


def ranges(model: onnx.ModelProto, names: Sequence[str], batches: Iterator[Inputs]) -> Ranges:
    """The lowest and highest value of each named tensor of a graph over some batches.

    The graph itself reduces each tensor to two numbers: whole activations of a large model would not fit the memory.
    """
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    for name in names:  # halves are widened first: on a processor reductions have kernels for float32 alone
        watched.graph.node.append(helper.make_node("Cast", [name], [f"{name}.float"], to=onnx.TensorProto.FLOAT))
        for kind in ("ReduceMin", "ReduceMax"):
            watched.graph.node.append(helper.make_node(kind, [f"{name}.float"], [f"{name}.{kind}"], keepdims=0))
            watched.graph.output.append(helper.make_tensor_value_info(f"{name}.{kind}", onnx.TensorProto.FLOAT, []))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = default_threads()
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = [f"{name}.{kind}" for name in names for kind in ("ReduceMin", "ReduceMax")]
    seen = np.array([session.run(wanted, inputs) for inputs in batches], dtype=np.float64)  # (batches, 2 x names)
    lowest, highest = seen[:, ::2].min(axis=0), seen[:, 1::2].max(axis=0)
    return {name: (float(low), float(high)) for name, low, high in zip(names, lowest, highest, strict=True)}
