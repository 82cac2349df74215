"""The other models of a Triton server as a backend, for a Python model of the same server. It needs no runtime of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.manifest import GraphInfo, Manifest
from runtime.backends.session import Arrays, HostSession, Outputs
from runtime.errors import DeviceError

Utils = Any  # the module `triton_python_backend_utils`, which is only there inside the server


class ServedBackend:
    """The graphs of a bundle, each a model of its own, `NAME_GRAPH`."""

    device = "triton"
    precisions: tuple[str, ...] = ("fp32",)

    def __init__(self, utils: Utils, name: str, manifest: Manifest) -> None:
        self.utils, self.name = utils, name
        self.graphs = {info.file: (graph, info) for graph, info in manifest.graphs.items()}
        self.detail = f"the models `{name}_*` of this Triton server"

    def open(self, graph: Path, precision: str = "fp32") -> ServedSession:
        """A session on the model of a graph; it is asked for nothing before the first run."""
        if precision not in self.precisions:
            raise DeviceError(f"asked for {precision}; a Triton server runs its models in the precision that they were built in")
        name, info = self.graphs[graph.name]
        return ServedSession(self.utils, f"{self.name}_{name}", info)


class ServedSession(HostSession):
    """A graph that the server runs, asked like any other session."""

    def __init__(self, utils: Utils, model: str, info: GraphInfo) -> None:
        self.utils, self.model, self.info = utils, model, info
        self.memory = utils.PreferredMemory(utils.TRITONSERVER_MEMORY_CPU, 0)  # else outputs may stay on the card

    def run(self, inputs: Arrays) -> Outputs:
        """Send the inputs, wait for the outputs, and copy them out of the server's memory."""
        # Triton knows no scalars: a single number is sent as an array of one, and its backend makes a scalar of it again.
        tensors = [self.utils.Tensor(name, np.ascontiguousarray(np.atleast_1d(inputs[name]))) for name in self.info.inputs]
        request = self.utils.InferenceRequest(
            model_name=self.model,
            requested_output_names=list(self.info.outputs),
            inputs=tensors,
            preferred_memory=self.memory,
        )
        response = request.exec()
        if response.has_error():
            raise DeviceError(f"the server's model `{self.model}` failed: {response.error().message()}")
        return {name: self.output(response, name) for name in self.info.outputs}

    def output(self, response: Any, name: str) -> NDArray[np.float32]:  # noqa: ANN401 - the server's classes carry no types
        """One output in its own shape."""
        tensor = self.utils.get_output_tensor_by_name(response, name)
        if tensor is None:
            raise DeviceError(f"the server's model `{self.model}` gave no `{name}`; write the repository again")
        return np.array(tensor.as_numpy(), dtype=np.float32).reshape(self.info.outputs[name][1])
