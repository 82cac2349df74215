"""PyTorch modules to ONNX files: one opset, static shapes, and every weight stored once per half of the bundle."""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.numpy_helper
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from runtime.errors import VlscoreError

OPSET = 20
EXTERNAL_FROM = 1024  # bytes; smaller tensors stay inside the graph, where shape inference can see them
ALIGNMENT = 64  # bytes; what vector loads from a memory-mapped file like

DTYPES: dict[int, str] = {
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.INT32: "int32",
    onnx.TensorProto.INT64: "int64",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.FLOAT: "float32",
}
INTEGERS = (onnx.TensorProto.UINT8, onnx.TensorProto.INT32, onnx.TensorProto.INT64)


class ExportError(VlscoreError, RuntimeError):
    """An exported graph is not what a bundle may hold."""


@dataclass
class WeightsFile:
    """One file of raw tensors that several graphs point into; equal tensors are written once.

    With a `shared` file beside it, it takes what that one does not hold.
    """

    path: Path
    offsets: dict[str, int] = field(default_factory=dict)
    size: int = 0
    shared: WeightsFile | None = None

    def holds(self, raw: bytes) -> bool:
        """Whether these bytes lie in the file already."""
        return hashlib.sha256(raw).hexdigest() in self.offsets

    def know(self, raw: bytes, offset: int) -> None:
        """Remember a tensor that lies in the file already."""
        self.offsets[hashlib.sha256(raw).hexdigest()] = offset

    def place(self, tensor: onnx.TensorProto) -> None:
        """Move a tensor's bytes into the file and leave the graph a reference to them."""
        raw = tensor.raw_data
        key = hashlib.sha256(raw).hexdigest()
        if self.shared is not None and key in self.shared.offsets:
            self.shared.place(tensor)
            return
        if key not in self.offsets:
            with self.path.open("ab") as file:
                file.write(b"\0" * (-self.size % ALIGNMENT))
                self.offsets[key] = file.tell()
                file.write(raw)
                self.size = file.tell()
        reference = {"location": self.path.name, "offset": str(self.offsets[key]), "length": str(len(raw))}
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        del tensor.external_data[:]
        for name, value in reference.items():
            tensor.external_data.add(key=name, value=value)


def export_graph(module: nn.Module, inputs: Mapping[str, Tensor], outputs: tuple[str, ...]) -> onnx.ModelProto:
    """Trace a module on example inputs, whose names and shapes become the graph's."""
    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    if program is None:
        raise ExportError("PyTorch exported nothing; torch >= 2.9 is needed")
    model: onnx.ModelProto = program.model_proto
    for value in (*model.graph.input, *model.graph.output):
        if any(not dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim):
            raise ExportError(f"graph value `{value.name}` has no fixed shape; bundles hold fixed shapes only")
    compare_as_floats(model)
    forget_provenance(model)
    return model


def run_once(graph: Path, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
    """Run a written graph on this machine's cores, and give its outputs in order."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    return list(session.run(None, inputs))


def compare_as_floats(model: onnx.ModelProto) -> None:
    """Cast the integers that an ArgMax reads to float32: CUDA's ArgMax has kernels for floats alone.

    What it reads here are tokens, to find a text's end; every whole number below 2^24 is exact in float32.
    """
    values = (*model.graph.value_info, *model.graph.input)
    integers = {value.name for value in values if value.type.tensor_type.elem_type in INTEGERS}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "ArgMax" and node.input[0] in integers:
            floats = f"{node.output[0]}.floats"
            nodes.append(
                onnx.helper.make_node("Cast", [node.input[0]], [floats], f"{node.name}.floats", to=onnx.TensorProto.FLOAT)
            )
            node.input[0] = floats
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def save_graph(model: onnx.ModelProto, path: Path, weights: WeightsFile | None) -> None:
    """Write a graph, its large weights into the shared file, and let the ONNX checker read it back."""
    if weights is not None:
        halve_where_exact(model)
        for tensor in model.graph.initializer:
            if len(tensor.raw_data) >= EXTERNAL_FROM:
                weights.place(tensor)
    path.write_bytes(model.SerializeToString(deterministic=True))
    onnx.checker.check_model(str(path), full_check=True)


def halve_where_exact(model: onnx.ModelProto) -> None:
    """Store a float32 weight as float16, cast back when the graph loads, wherever not one bit is lost by it.

    Checkpoints published in half precision (OpenAI's) shrink to half this way, and compute exactly what they did.
    """
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.raw_data) < EXTERNAL_FROM:
            continue
        half = as_half(onnx.numpy_helper.to_array(tensor))
        if half is not None:
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}.half"))
            casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def as_half(full: NDArray[Any]) -> NDArray[np.float16] | None:
    """Float32 numbers as float16, where not one bit is lost by it; a few tell already of most that they lose some."""
    for some in (slice(256), slice(None)):
        with np.errstate(over="ignore"):
            half = full.reshape(-1)[some].astype(np.float16)
        if not np.array_equal(half.astype(np.float32), full.reshape(-1)[some]):
            return None
    return half.reshape(full.shape)


def as_stored(array: NDArray[Any]) -> bytes:
    """The bytes of a large weight as a file of weights keeps them."""
    half = as_half(array) if array.dtype == np.float32 else None
    return (array if half is None else half).tobytes()


def signature(values: Iterable[onnx.ValueInfoProto]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name, element type and shape of a graph's inputs or outputs."""
    found = {}
    for value in values:
        tensor = value.type.tensor_type
        found[value.name] = (DTYPES[tensor.elem_type], tuple(dim.dim_value for dim in tensor.shape.dim))
    return found


def forget_provenance(model: onnx.ModelProto) -> None:
    """Drop what names source files and Python stacks: equal inputs give equal bytes on every machine."""
    model.graph.ClearField("metadata_props")
    model.ClearField("metadata_props")
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")


def turn_where_known(model: onnx.ModelProto, known: WeightsFile) -> None:
    """Turn a matrix over, back when the graph loads, where the file holds it the other way round; the exporter writes either."""
    turns = []
    for tensor in model.graph.initializer:
        if len(tensor.dims) != 2 or len(tensor.raw_data) < EXTERNAL_FROM:
            continue
        array = onnx.numpy_helper.to_array(tensor)
        turned = np.ascontiguousarray(array.T)
        if not known.holds(as_stored(array)) and known.holds(as_stored(turned)):
            name = tensor.name
            tensor.CopyFrom(onnx.numpy_helper.from_array(turned, f"{name}.turned"))
            turns.append(onnx.helper.make_node("Transpose", [f"{name}.turned"], [name], perm=[1, 0]))
    nodes = [*turns, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporter's chatter off the terminal; its errors still arrive as exceptions."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
