"""The configurations of Triton's models, as text; `tritonclient`'s own schema reads them in the tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from engine.manifest import GraphInfo, Tensor
from runtime.errors import VlscoreError

MARK = "# written by `python -m export.triton`"
TYPES = {"uint8": "TYPE_UINT8", "int32": "TYPE_INT32", "int64": "TYPE_INT64", "float16": "TYPE_FP16", "float32": "TYPE_FP32"}

# What the front model takes and gives: name, type, shape (-1: any), and whether it may be left out.
FRONT_INPUTS = (
    ("picture", "TYPE_STRING", (1,), True),  # the bytes of a picture file
    ("pixels", "TYPE_UINT8", (-1, -1, 3), True),  # or its pixels, (H, W, 3)
    ("queries", "TYPE_STRING", (-1,), False),
)
FRONT_OUTPUTS = (
    ("boxes", "TYPE_FP32", (-1, 4)),  # of all queries, one after the other
    ("scores", "TYPE_FP32", (-1,)),
    ("which", "TYPE_INT32", (-1,)),  # the query that each box answers
    ("present", "TYPE_BOOL", (-1,)),
    ("saliency", "TYPE_FP32", (-1, -1, -1)),  # (Q, h, w), over the window
    ("window", "TYPE_FP32", (4,)),  # the part of the picture that the model saw, in its pixels
)
# Of ONNX Runtime's CUDA provider: channels last, which its convolutions like, and float32 products in float32.
CUDA_OPTIONS = {"cudnn_conv_use_max_workspace": "1", "prefer_nhwc": "1", "use_tf32": "0"}
SCENES_MIB = 512  # of encoded pictures that the front model keeps


class TritonError(VlscoreError, ValueError):
    """A bundle cannot be served as asked."""


def graph_config(name: str, info: GraphInfo, kind: str, threads: int, plans: Iterable[str]) -> str:
    """The configuration of one graph, on ONNX Runtime, or on TensorRT where there are plans for these capabilities."""
    plans = list(plans)
    lines = [MARK, f"name: {quoted(name)}", f"backend: {quoted('tensorrt' if plans else 'onnxruntime')}", "max_batch_size: 0"]
    lines += [tensor("input", key, TYPES[dtype], dims(shape)) for key, (dtype, shape) in info.inputs.items()]
    lines += [tensor("output", key, TYPES[dtype], dims(shape)) for key, (dtype, shape) in info.outputs.items()]
    lines.append(f"instance_group [ {{ count: 1 kind: {'KIND_GPU' if kind == 'gpu' else 'KIND_CPU'} }} ]")
    if plans:
        # The exact names that `export.triton` gives the files.
        lines += [f'cc_model_filenames [ {{ key: "{sm}" value: "model_sm{sm.replace(".", "")}.plan" }} ]' for sm in plans]
    elif kind == "gpu":
        lines.append(accelerator(CUDA_OPTIONS))
    else:
        lines.append(parameter("intra_op_thread_count", str(threads)))
    lines.append(warmup(info.inputs))
    return "\n".join(lines) + "\n"


def front_config(name: str, preset: str, spec: str) -> str:
    """The configuration of the front model; one process, since every further one would encode and remember for itself."""
    lines = [MARK, f"name: {quoted(name)}", 'backend: "python"', "max_batch_size: 0"]
    lines += [tensor("input", key, kind, shape, optional) for key, kind, shape, optional in FRONT_INPUTS]
    lines += [tensor("output", key, kind, shape) for key, kind, shape in FRONT_OUTPUTS]
    lines.append("instance_group [ { count: 1 kind: KIND_CPU } ]")
    lines += [parameter("preset", preset), parameter("spec", spec), parameter("scenes_mib", str(SCENES_MIB))]
    return "\n".join(lines) + "\n"


def dims(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape as Triton wants it: it knows no scalars, and ONNX Runtime's backend makes one of a single number again."""
    return shape or (1,)


def tensor(side: str, name: str, kind: str, shape: tuple[int, ...], optional: bool = False) -> str:
    """One input or output."""
    sizes = ", ".join(str(size) for size in shape)
    return f"{side} [ {{ name: {quoted(name)} data_type: {kind} dims: [ {sizes} ]{' optional: true' if optional else ''} }} ]"


def accelerator(options: Mapping[str, str]) -> str:
    """The CUDA provider with options."""
    parameters = " ".join(f"parameters {{ key: {quoted(key)} value: {quoted(value)} }}" for key, value in options.items())
    return f'optimization {{ execution_accelerators {{ gpu_execution_accelerator [ {{ name: "cuda" {parameters} }} ] }} }}'


def parameter(key: str, value: str) -> str:
    """One parameter of a model or its backend."""
    return f"parameters [ {{ key: {quoted(key)} value: {{ string_value: {quoted(value)} }} }} ]"


def warmup(inputs: Mapping[str, Tensor]) -> str:
    """One run on zeros before the model is called ready: a first run chooses algorithms, for seconds."""
    samples = []
    for name, (dtype, shape) in inputs.items():
        sizes = ", ".join(str(size) for size in dims(shape))
        samples.append(
            f"inputs [ {{ key: {quoted(name)} value: {{ data_type: {TYPES[dtype]} dims: [ {sizes} ] zero_data: true }} }} ]"
        )
    return f'model_warmup [ {{ name: "blank" batch_size: 1 {" ".join(samples)} }} ]'


def quoted(text: str) -> str:
    """A string of the text format."""
    return json.dumps(text)
