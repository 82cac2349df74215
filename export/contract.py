"""What a graph must keep to so that every backend takes it: known operators, fixed shapes, one type per sum.

The rules are those of the strictest reader, NVIDIA's parser for strongly typed networks. Bundles in `int8` are made for CPUs
alone and break the rules on purpose: their zero points and 32-bit biases are what makes them quick there.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from engine.operators import OPERATORS, QUANTISED, REDUCTIONS
from export.onnx_files import OPSET, ExportError

ALIKE = ("Add", "Sub", "Mul", "Div", "MatMul", "Gemm", "Conv", "Concat", "Greater")  # all inputs of one type
FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16}
Types = dict[str, int]


def check_contract(model: onnx.ModelProto, name: str) -> None:
    """Raise ExportError telling every rule that a graph breaks, or return."""
    found = list(dict.fromkeys(violations(model)))
    if found:
        raise ExportError(f"graph `{name}` breaks {len(found)} rule(s) that backends rely on:\n" + "\n".join(found))


def violations(model: onnx.ModelProto) -> Iterator[str]:
    """Every rule that a graph breaks, one line each; weights may lie in a file beside it."""
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    if opsets != {"": OPSET}:
        yield f"opsets must be ONNX's own {OPSET} alone, found {opsets}"
    if model.functions:
        yield f"functions must be inlined, found {len(model.functions)}"
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.domain or node.op_type not in OPERATORS:
            yield f"{node_name(node)}: no operator that was looked up for every backend"
        elif node.op_type in REDUCTIONS and len(node.input) > 1 and node.input[1] not in constants:
            yield f"{node_name(node)}: its axes must be constant"
        elif node.op_type in QUANTISED:
            yield from quantised(node, constants)
    try:
        inferred = infer(model)
    except onnx.shape_inference.InferenceError as error:
        yield f"shapes and types do not fit together: {str(error).strip().splitlines()[-1]}"
        return
    yield from shapes(inferred)
    yield from typing(inferred)


def infer(model: onnx.ModelProto) -> onnx.ModelProto:
    """Work out every type and shape; what the graph says of its inner values is forgotten first."""
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True, data_prop=True)


def quantised(node: onnx.NodeProto, constants: dict[str, TensorProto]) -> Iterator[str]:
    """The rules of a step between eight bits and floats."""
    source = constants.get(node.input[0])
    if node.op_type == "DequantizeLinear" and source is not None and source.data_type == TensorProto.INT32:
        yield f"{node_name(node)}: 32-bit biases are not read; leave them in floats"
    if len(node.input) < 3 or not node.input[2]:
        return
    zero = constants.get(node.input[2])
    if zero is None:
        yield f"{node_name(node)}: its zero point must be constant"
    elif zero.data_type != TensorProto.INT8:
        yield f"{node_name(node)}: eight bits must be signed"
    elif zero.data_location != TensorProto.EXTERNAL and np.any(numpy_helper.to_array(zero) != 0):
        yield f"{node_name(node)}: its zero point must be 0"


def shapes(model: onnx.ModelProto) -> Iterator[str]:
    """Every value has a fixed shape."""
    known = {value.name: value for value in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
    for node in model.graph.node:
        for output in node.output:
            value = known.get(output)
            dims = value.type.tensor_type.shape.dim if value is not None else ()
            if (
                value is None
                or not value.type.tensor_type.HasField("shape")
                or any(not dim.HasField("dim_value") for dim in dims)
            ):
                yield f"{node_name(node)}: the shape of `{output}` is not fixed"


def fixed(tensor: onnx.TypeProto.Tensor) -> bool:
    """Whether every dimension is a number."""
    return tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in tensor.shape.dim)


def typing(model: onnx.ModelProto) -> Iterator[str]:
    """Bytes are only cast, and what is added or multiplied is of one type."""
    types: Types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        types[value.name] = value.type.tensor_type.elem_type
    in_eight_bits = any(node.op_type in QUANTISED for node in model.graph.node)
    for node in model.graph.node:
        given = [types[name] for name in node.input if name in types]
        if in_eight_bits and node.op_type == "Conv" and TensorProto.FLOAT in given:
            yield f"{node_name(node)}: where others take eight bits it must compute in half precision, not in float32"
        if TensorProto.UINT8 in given and node.op_type not in ("Cast", *QUANTISED):
            yield f"{node_name(node)}: bytes must be cast to floats before anything else"
        if node.op_type == "ArgMax" and not set(given) <= FLOATS:
            yield f"{node_name(node)}: integers must be cast to floats first; CUDA has no kernel for them"
        if node.op_type in ALIKE and len(set(given)) > 1:
            names = ", ".join(TensorProto.DataType.Name(kind) for kind in given)
            yield f"{node_name(node)}: its inputs are of several types ({names})"


def node_name(node: onnx.NodeProto) -> str:
    """A node for a message."""
    return f"{f'{node.domain}.' if node.domain else ''}{node.op_type} `{node.name or node.output[0]}`"
