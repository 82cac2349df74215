"""A stand-in for what Triton gives its Python models: BLS requests are run by ONNX Runtime on the repository's own files."""

from __future__ import annotations

import types
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import np_to_triton_dtype


def read_config(folder: Path) -> Any:
    """A model's configuration; a field that Triton does not know is an error."""
    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


class TritonError(Exception):
    UNKNOWN, INTERNAL, INVALID_ARG = range(3)

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.text, self.kind = message, code

    def message(self) -> str:
        return self.text

    def code(self) -> int:
        return self.kind


class Tensor:
    def __init__(self, name: str, values: np.ndarray) -> None:
        assert isinstance(values, np.ndarray)
        self._name, self.values = name, values

    def name(self) -> str:
        return self._name

    def as_numpy(self) -> np.ndarray:
        return self.values


@dataclass
class PreferredMemory:
    kind: int
    device: int


class InferenceResponse:
    def __init__(self, output_tensors: list[Tensor], error: TritonError | None = None) -> None:
        self.tensors, self.fault = output_tensors, error

    def has_error(self) -> bool:
        return self.fault is not None

    def error(self) -> TritonError | None:
        return self.fault

    def output_tensors(self) -> list[Tensor]:
        return self.tensors


class ClientRequest:
    """What a client sent to the front model."""

    def __init__(self, **inputs: np.ndarray) -> None:
        self.tensors = [Tensor(name, values) for name, values in inputs.items()]

    def inputs(self) -> list[Tensor]:
        return self.tensors


@dataclass
class Server:
    """Runs the models of a repository, strictly as configured; `broken` ones answer with an error."""

    repository: Path
    broken: set[str] = field(default_factory=set)
    runs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.config = cache(lambda name: read_config(self.repository / name))
        self.session = cache(lambda name: onnxruntime.InferenceSession(str(self.repository / name / "1" / "model.onnx")))

    def execute(self, name: str, outputs: list[str], inputs: list[Tensor]) -> InferenceResponse:
        self.runs.append(name)
        if name in self.broken:
            return InferenceResponse([], TritonError("out of memory"))
        given = {tensor.name(): tensor.as_numpy() for tensor in inputs}
        wanted = {one.name: one for one in self.config(name).input}
        assert set(given) == set(wanted)
        for key, values in given.items():
            assert list(values.shape) == list(wanted[key].dims)
            assert f"TYPE_{np_to_triton_dtype(values.dtype)}" == model_config_pb2.DataType.Name(wanted[key].data_type)
        session = self.session(name)
        # As the ONNX Runtime backend does: where the graph has a scalar, the array of one becomes one.
        feed = {one.name: given[one.name].reshape(one.shape) for one in session.get_inputs()}
        return InferenceResponse([Tensor(key, value) for key, value in zip(outputs, session.run(outputs, feed), strict=True)])

    def module(self) -> types.ModuleType:
        """The module that the front model imports."""
        server = self

        class InferenceRequest:
            def __init__(
                self, model_name: str, requested_output_names: list[str], inputs: list[Tensor], preferred_memory: PreferredMemory
            ) -> None:
                assert preferred_memory == PreferredMemory(0, 0), "outputs must come to the host"
                self.asked = (model_name, requested_output_names, inputs)

            def exec(self) -> InferenceResponse:
                return server.execute(*self.asked)

        made: Any = types.ModuleType("triton_python_backend_utils")
        made.Tensor, made.TritonError, made.PreferredMemory = Tensor, TritonError, PreferredMemory
        made.InferenceRequest, made.InferenceResponse = InferenceRequest, InferenceResponse
        made.TRITONSERVER_MEMORY_CPU = 0
        made.get_input_tensor_by_name = lambda request, name: find(request.inputs(), name)
        made.get_output_tensor_by_name = lambda response, name: find(response.output_tensors(), name)
        return made


def find(tensors: list[Tensor], name: str) -> Tensor | None:
    return next((tensor for tensor in tensors if tensor.name() == name), None)
