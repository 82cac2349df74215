"""The masked graph in eight bits: Q/DQ before its inner convolutions or products, all else as it was.

Only the passes are quantised: the image graph, and with it the maps, stay float32. Inside the masked graph pixels, masks,
the stem (three convolutions on few channels), the attention pool and the L2 norm stay in floats, and so do the outputs of what
is quantised. For processors floats are float32; for NVIDIA's cards (`int8-symmetric`) the encoder is in half precision, and
what its blocks pool and add is quantised too, so that tensors cross the card's memory as bytes.

Processors, measured on demo-rn with OpenVINO, six pictures of the emoji world, calibrated on sixteen others or on the
photographs: maps that change sides of the base / error of scores / lowest cosine / mean agreement of boxes.

    inputs alone, minimum and maximum        2.6 % / 0.012 / 0.980 .. 0.996 / 0.995    as shipped
    inputs and outputs                       2.3 .. 8.1 % / 0.027 / 0.970 .. 0.994 / 0.992
    percentile 99.9999 (of both)             2.9 % / 0.023 / 0.960 .. 0.989 / 0.991
    percentile 99.9 (of both)                4.3 % / 0.17 / 0.225 / 0.908    rare large activations are what the model speaks with
    stem, too                                4.1 % / 0.032 / 0.983 / 0.989
    sums and pools, too                      33 %: OpenVINO gets them wrong
    bfloat16, for comparison                 0.4 % / 0.004 / 1.000 / 0.998
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
from onnxruntime.quantization import CalibrationMethod, QuantType
from onnxruntime.quantization.calibrate import TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from engine.manifest import FileInfo, Manifest
from export import calibration
from export.calibration import Ranges, open_small
from export.contract import check_contract
from export.onnx_files import WeightsFile, save_graph
from export.options import HALVES
from runtime.filling.origin import sha256_of

STEM = 3  # convolutions of a CLIP ResNet before its stages
KINDS = ("Conv", "MatMul", "Gemm")


def quantise_bundle(folder: Path, manifest: Manifest, pictures: list[Path]) -> Manifest:
    """Quantise a bundle's masked graph, and the one of a smaller batch, in its folder; gives the manifest of what lies there."""
    symmetric = manifest.precision == "int8-symmetric"
    paths = [folder / manifest.graphs[name].file for name in ("masked-small", "masked") if name in manifest.graphs]
    models = [onnx.load(path) for path in paths]
    for model in models:
        float_again(model)
    inner, between = inner_nodes(models[0]), between_nodes(models[0]) if symmetric else []
    names = {tensor for node in inner for tensor in (node.input[0], node.output[0])}  # the quantiser asks for both
    found = calibration.ranges(models[0], sorted(names | set(between)), calibration.passes(open_small(folder), pictures))
    shared = weights_of(folder / manifest.graphs["image"].file)
    for path, model in zip(paths, models, strict=True):  # of one module: their tensors have the same names
        if symmetric:
            quantised = quantise_for_cards(model, [node.name for node in inner], between, found)
            check_contract(quantised, path.stem)
        else:
            quantised = quantise(model, [node.name for node in inner], found)
        save_graph(quantised, path, shared)
    (folder / HALVES).unlink(missing_ok=True)
    files = {file.name: FileInfo(file.stat().st_size, sha256_of(file)) for file in sorted(folder.iterdir())}
    return dataclasses.replace(manifest, files={name: files[name] for name in manifest.files if name in files})


def inner_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes worth eight bits: a ResNet's convolutions after the stem; a transformer's products but the last projection."""
    weights = {tensor.name for tensor in model.graph.initializer}
    kinds = [node for node in model.graph.node if node.op_type in KINDS and node.input[1] in weights]
    convolutions = [node for node in kinds if node.op_type == "Conv"]
    if len(convolutions) > STEM:
        return convolutions[STEM:]
    first = next(index for index, node in enumerate(kinds) if node.op_type == "Conv")  # of patches; masks are made before it
    return kinds[first + 1 : -1]


def between_nodes(model: onnx.ModelProto) -> list[str]:
    """What else is kept in eight bits on a card: what ResNets pool and add, so that it crosses the card's memory as bytes.

    Of a sum only the shortcut is quantised here. Its other side comes straight from a convolution, which TensorRT runs in one
    kernel with the sum and the ReLU; a step between the two would part them.
    """
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    of_stem = next((node for node in model.graph.node if node.op_type == "AveragePool"), None)
    found = []
    for node in model.graph.node:
        if node.op_type == "AveragePool" and node is not of_stem:
            found.append(node.input[0])
        elif node.op_type == "Add" and makers.get(node.input[0]) == "Conv":
            found.append(node.input[1])
    return found


def quantise(model: onnx.ModelProto, nodes: list[str], found: Ranges) -> onnx.ModelProto:
    """Put Q/DQ around these nodes, as processors like it: weights S8 by output channel, activations U8 by their ranges."""
    ranges = {
        name: TensorData(lowest=np.float32(min(low, 0)), highest=np.float32(max(high, 0))) for name, (low, high) in found.items()
    }
    quantizer = make_quantizer(model, nodes, ranges, symmetric=False)
    return finished(quantizer)


def quantise_for_cards(model: onnx.ModelProto, nodes: list[str], between: list[str], found: Ranges) -> onnx.ModelProto:
    """The same over half precision and as NVIDIA's parser takes it: activations S8, zero points 0, biases as they are."""
    ranges = {
        name: TensorData(lowest=np.float16(min(low, 0)), highest=np.float16(max(high, 0))) for name, (low, high) in found.items()
    }
    quantizer = make_quantizer(model, nodes, ranges, symmetric=True)
    for tensor in between:
        quantizer.quantize_activation_tensor(tensor)
    return finished(quantizer)


def make_quantizer(model: onnx.ModelProto, nodes: list[str], ranges: dict[str, TensorData], *, symmetric: bool) -> QDQQuantizer:
    """ONNX Runtime's own, set to quantise what some nodes take, and nothing that they give."""
    return QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=nodes,
        nodes_to_exclude=[],
        op_types_to_quantize=list(KINDS),
        extra_options={
            "WeightSymmetric": True,
            "ActivationSymmetric": symmetric,
            "QuantizeBias": not symmetric,
            "OpTypesToExcludeOutputQuantization": list(KINDS),
        },
    )


def finished(quantizer: QDQQuantizer) -> onnx.ModelProto:
    """The graph with its steps put in."""
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantised: onnx.ModelProto = quantizer.model.model
    return quantised


def float_again(model: onnx.ModelProto) -> None:
    """Undo the halving of weights on disk: in memory a weight is a float32 initializer, which the quantiser looks for."""
    halves = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT16}
    casts = [node for node in model.graph.node if node.op_type == "Cast" and node.input[0] in halves]
    for node in casts:
        half = halves[node.input[0]]
        half.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(half).astype(np.float32), node.output[0]))
        model.graph.node.remove(node)


def weights_of(graph: Path) -> WeightsFile:
    """The weights file that a saved graph points into, knowing what lies where, so that equal tensors stay stored once."""
    tensors = [tensor for tensor in onnx.load(graph, load_external_data=False).graph.initializer if tensor.external_data]
    references = [{entry.key: entry.value for entry in tensor.external_data} for tensor in tensors]
    path = graph.parent / references[0]["location"]
    shared = WeightsFile(path, size=path.stat().st_size)
    data = path.read_bytes()
    for reference in references:
        start, length = int(reference["offset"]), int(reference["length"])
        shared.know(data[start : start + length], start)
    return shared
