"""One graph on a card: inputs and outputs lie in the card's memory, runs go one after another on a thread of their own.

Two lanes of buffers take turns: while one run computes, the next one's inputs are uploaded into the other lane.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.session import Arrays, Outputs, Pending, Session

LANES = 2
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


@dataclass(frozen=True)
class Graph:
    """An open graph, the card it is on, its one worker, and how to tell its faults."""

    ort: Any
    session: Any
    index: int
    worker: ThreadPoolExecutor
    translate: Translate

    def inputs(self) -> dict[str, Any]:
        """The graph's inputs by name."""
        return {info.name: info for info in self.session.get_inputs()}

    def empty(self, info: Any) -> Any:  # noqa: ANN401 - ONNX Runtime's classes are only there when it is
        """Memory on the card for one input or output; shapes are fixed."""
        return self.ort.OrtValue.ortvalue_from_shape_and_type(list(info.shape), TYPES[info.type], "cuda", self.index)


@dataclass(frozen=True)
class Lane:
    """A set of buffers on the card and what binds them to the graph."""

    binding: Any
    inputs: Values  # those that each run brings
    outputs: Values


class CudaSession:
    """A graph on a card; safe to call from several threads, whose runs then wait for each other."""

    def __init__(self, graph: Graph, held: Values | None = None) -> None:
        self.graph, self.held = graph, held or {}
        self.known = graph.inputs()
        self.free: list[Lane] = []
        self.unmade = LANES
        self.turn = threading.Condition()

    def run(self, inputs: Arrays) -> Outputs:
        """Run the graph once."""
        return self.start(inputs)()

    def start(self, inputs: Arrays) -> Pending:
        """Upload the inputs and put the run in line; waits while two runs are under way already."""
        given = self.checked(inputs)
        lane = self.take()
        try:
            for name, value in lane.inputs.items():
                value.update_inplace(given[name])
            future = self.graph.worker.submit(self.compute, lane)
        except BaseException as error:
            self.give_back(lane)
            raise self.graph.translate(error) from error
        return future.result

    def hold(self, inputs: Arrays) -> Session:
        """Upload some inputs to stay; the session given back shares this one's graph and worker."""
        held = dict(self.held)
        for name, array in inputs.items():
            try:
                held[name] = self.graph.empty(self.known[name])
                held[name].update_inplace(self.fitting(name, array))
            except Exception as error:
                raise self.graph.translate(error) from error
        return CudaSession(self.graph, held)

    def compute(self, lane: Lane) -> Outputs:
        """Run on the worker: compute, bring the outputs to the host, free the lane."""
        try:
            lane.binding.synchronize_inputs()
            self.graph.session.run_with_iobinding(lane.binding)
            lane.binding.synchronize_outputs()
            return {name: value.numpy() for name, value in lane.outputs.items()}
        except Exception as error:
            raise self.graph.translate(error) from error
        finally:
            self.give_back(lane)

    def checked(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """The inputs as the card reads them: none missing, each of its shape and type, in one piece."""
        return {name: self.fitting(name, inputs[name]) for name in self.known if name not in self.held}

    def fitting(self, name: str, array: NDArray[Any]) -> NDArray[Any]:
        """One input in one piece; a wrong shape or type is a fault of the caller's, told before it reaches the card."""
        info = self.known[name]
        if tuple(info.shape) != array.shape or array.dtype != TYPES[info.type]:
            raise ValueError(
                f"input `{name}` must be {info.type} of shape {tuple(info.shape)}, got {array.dtype} of shape {array.shape}"
            )
        return np.require(array, requirements="C")

    def take(self) -> Lane:
        """A lane that nobody uses: one that was made, or a new one while there are fewer than two."""
        with self.turn:
            self.turn.wait_for(lambda: self.free or self.unmade)
            if self.free:
                return self.free.pop()
            self.unmade -= 1
        try:
            return self.make()
        except Exception as error:
            with self.turn:
                self.unmade += 1
                self.turn.notify()
            raise self.graph.translate(error) from error

    def give_back(self, lane: Lane) -> None:
        """Let the next run have a lane."""
        with self.turn:
            self.free.append(lane)
            self.turn.notify()

    def make(self) -> Lane:
        """Take memory on the card and bind it: addresses never change after this."""
        binding = self.graph.session.io_binding()
        brought = {name: self.graph.empty(info) for name, info in self.known.items() if name not in self.held}
        outputs = {info.name: self.graph.empty(info) for info in self.graph.session.get_outputs()}
        for name, value in {**self.held, **brought}.items():
            binding.bind_ortvalue_input(name, value)
        for name, value in outputs.items():
            binding.bind_ortvalue_output(name, value)
        return Lane(binding, brought, outputs)
