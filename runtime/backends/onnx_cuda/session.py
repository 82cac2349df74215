"""One graph on a card: inputs and outputs stay in the card's memory, runs go one after another on a thread of their own.

Two sets of buffers take turns: while one run computes, the next one's inputs are uploaded into the other set, and the last
one's outputs are downloaded by a second thread, so that the card does not wait for the copy.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.session import Arrays, Outputs, Pending, Session

BUFFER_SETS = 2
TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
Values = dict[str, Any]  # OrtValues by name
Translate = Callable[[BaseException], BaseException]


class OpenGraph:
    """A graph that ONNX Runtime opened on a card, the threads that serve it, and what translates its exceptions."""

    def __init__(self, ort: Any, session: Any, index: int, name: str, translate: Translate) -> None:  # noqa: ANN401 - ONNX Runtime's classes are only there when it is
        self.ort, self.session, self.index, self.translate = ort, session, index, translate
        self.worker, self.downloader = (
            ThreadPoolExecutor(1, thread_name_prefix=f"vlscore-cuda:{index}-{name}-{task}") for task in ("run", "download")
        )
        self.inputs = {info.name: info for info in session.get_inputs()}
        self.outputs = {info.name: info for info in session.get_outputs()}

    def allocate(self, info: Any) -> Any:  # noqa: ANN401
        """Memory on the card for one input or output; shapes are fixed."""
        return self.ort.OrtValue.ortvalue_from_shape_and_type(list(info.shape), TYPES[info.type], "cuda", self.index)


@dataclass(frozen=True)
class BufferSet:
    """Buffers on the card for one run, and what binds them to the graph."""

    binding: Any
    inputs: Values  # those that each run brings
    outputs: Values


class CudaSession:
    """A graph on a card; safe to call from several threads, whose runs then wait for each other."""

    def __init__(self, graph: OpenGraph, held: Values | None = None) -> None:
        self.graph, self.held = graph, held or {}
        self.free: list[BufferSet] = []
        self.unmade = BUFFER_SETS
        self.changed = threading.Condition()

    def run(self, inputs: Arrays) -> Outputs:
        """Run the graph once."""
        return self.start(inputs)()

    def start(self, inputs: Arrays) -> Pending:
        """Upload the inputs and queue the run; waits while two runs are under way already."""
        checked = {name: self.check(name, inputs[name]) for name in self.graph.inputs if name not in self.held}
        buffers = self.take_buffers()
        try:
            for name, value in buffers.inputs.items():
                value.update_inplace(checked[name])
            computed = self.graph.worker.submit(self.compute, buffers)
            return self.graph.downloader.submit(self.download, computed, buffers).result
        except BaseException as error:
            self.free_buffers(buffers)
            raise self.graph.translate(error) from error

    def hold(self, inputs: Arrays) -> Session:
        """Upload some inputs to stay; the session given back shares this one's graph and thread."""
        held = dict(self.held)
        for name, array in inputs.items():
            checked = self.check(name, array)
            try:
                held[name] = self.graph.allocate(self.graph.inputs[name])
                held[name].update_inplace(checked)
            except Exception as error:
                raise self.graph.translate(error) from error
        return CudaSession(self.graph, held)

    def compute(self, buffers: BufferSet) -> None:
        """On the graph's thread: run on the buffers."""
        buffers.binding.synchronize_inputs()
        self.graph.session.run_with_iobinding(buffers.binding)
        buffers.binding.synchronize_outputs()

    def download(self, computed: Future[None], buffers: BufferSet) -> Outputs:
        """On the downloading thread: wait for the run, copy its outputs to the host, free the buffers."""
        try:
            computed.result()
            return {name: value.numpy() for name, value in buffers.outputs.items()}
        except Exception as error:
            raise self.graph.translate(error) from error
        finally:
            self.free_buffers(buffers)

    def check(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """One input in one piece; a wrong shape or type is the caller's error, raised before anything reaches the card."""
        info = self.graph.inputs[name]
        if tuple(info.shape) != array.shape or array.dtype != TYPES[info.type]:
            raise ValueError(
                f"input `{name}` must be {info.type} of shape {tuple(info.shape)}, got {array.dtype} of shape {array.shape}"
            )
        return np.require(array, requirements="C")

    def take_buffers(self) -> BufferSet:
        """A set of buffers that no run uses: one that was made, or a new one while there are fewer than two."""
        with self.changed:
            self.changed.wait_for(lambda: self.free or self.unmade)
            if self.free:
                return self.free.pop()
            self.unmade -= 1
        try:
            return self.make_buffers()
        except Exception as error:
            with self.changed:
                self.unmade += 1
                self.changed.notify()
            raise self.graph.translate(error) from error

    def free_buffers(self, buffers: BufferSet) -> None:
        """Let the next run have these buffers."""
        with self.changed:
            self.free.append(buffers)
            self.changed.notify()

    def make_buffers(self) -> BufferSet:
        """Allocate memory on the card and bind it: addresses never change after this."""
        binding = self.graph.session.io_binding()
        inputs = {name: self.graph.allocate(info) for name, info in self.graph.inputs.items() if name not in self.held}
        outputs = {name: self.graph.allocate(info) for name, info in self.graph.outputs.items()}
        for name, value in {**self.held, **inputs}.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        return BufferSet(binding, inputs, outputs)
