"""The masked graph in eight bits: Q/DQ before its inner convolutions or products, all else as it was.

Only the passes are quantised: the image graph, and with it the maps, stay float32. Inside the masked graph pixels, masks,
the stem (three convolutions on few channels), the attention pool and the L2 norm stay float32, and so do the outputs of what
is quantised. Measured on demo-rn with OpenVINO, six pictures of the emoji world, calibrated on sixteen others or on the
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
from export.calibration import Ranges
from export.contract import check_contract
from export.onnx_files import WeightsFile, save_graph
from export.weights import sha256_of

STEM = 3  # convolutions of a CLIP ResNet before its stages
KINDS = ("Conv", "MatMul", "Gemm")


def quantise_bundle(folder: Path, manifest: Manifest, pictures: list[Path]) -> Manifest:
    """Quantise the masked graph of a float32 bundle in its folder; gives the manifest of what lies there then."""
    path = folder / manifest.graphs["masked"].file
    model = onnx.load(path)
    float_again(model)
    inner = inner_nodes(model)
    names = sorted({tensor for node in inner for tensor in (node.input[0], node.output[0])})  # the quantiser asks for both
    found = calibration.ranges(model, names, calibration.passes(folder, pictures))
    quantised = quantise(model, [node.name for node in inner], found, symmetric=manifest.precision == "int8-symmetric")
    if manifest.precision == "int8-symmetric":
        check_contract(quantised, "masked")
    image = folder / manifest.graphs["image"].file
    save_graph(quantised, path, weights_of(image))
    files = {file.name: FileInfo(file.stat().st_size, sha256_of(file)) for file in sorted(folder.iterdir())}
    return dataclasses.replace(manifest, files={name: files[name] for name in manifest.files})


def inner_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """The nodes worth eight bits: a ResNet's convolutions after the stem; a transformer's products but the last projection."""
    weights = {tensor.name for tensor in model.graph.initializer}
    kinds = [node for node in model.graph.node if node.op_type in KINDS and node.input[1] in weights]
    convolutions = [node for node in kinds if node.op_type == "Conv"]
    if len(convolutions) > STEM:
        return convolutions[STEM:]
    first = next(index for index, node in enumerate(kinds) if node.op_type == "Conv")  # of patches; masks are made before it
    return kinds[first + 1 : -1]


def quantise(model: onnx.ModelProto, nodes: list[str], found: Ranges, *, symmetric: bool = False) -> onnx.ModelProto:
    """Put Q/DQ around these nodes: weights S8 by output channel, activations U8 by their ranges.

    `symmetric` is what NVIDIA's parser takes: activations S8 too, every zero point 0, biases left as they are.
    """
    low_high = {
        name: TensorData(lowest=np.float32(min(low, 0.0)), highest=np.float32(max(high, 0.0)))
        for name, (low, high) in found.items()
    }
    quantizer = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, low_high),
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
