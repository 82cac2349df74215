"""One TensorRT engine on a stream of its own: fixed addresses, memory that we manage, two runs under way at once."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.backends.cuda_memory import Bytes, DeviceRuntime
from runtime.backends.session import Arrays, Outputs, Pending
from runtime.backends.trt_build import EngineError, Trt
from runtime.errors import DeviceError

SETS = 2  # of staging memory: the next run is put on the stream while one is under way
ALIGNED = 256  # the least that TensorRT wants its scratch memory to be
TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT64": "int64",
    "INT32": "int32",
    "INT8": "int8",
    "UINT8": "uint8",
    "BOOL": "bool",
}


@dataclass(frozen=True, slots=True)
class Slot:
    """A tensor that goes in or comes out: its type, its shape, and where it lies on the card."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    pointer: int
    given: bool

    @property
    def size(self) -> int:
        """In bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(slots=True, eq=False)
class Run:
    """A run on the stream: the staging set that it uses, the event at its end, and then its outputs."""

    staging: Mapping[str, Bytes]
    event: int
    outputs: Outputs | None = None


@dataclass(slots=True)
class Owned:
    """All that has to be given back to the card."""

    device: DeviceRuntime
    pointers: list[int] = field(default_factory=list)
    pinned: list[Bytes] = field(default_factory=list)
    streams: list[int] = field(default_factory=list)
    graphs: list[int] = field(default_factory=list)

    def release(self) -> None:
        """Wait for the streams, then give everything back."""
        for stream in self.streams:
            self.device.synchronize(stream)
        for graph in self.graphs:
            self.device.close_graph(graph)
        for pointer in self.pointers:
            self.device.free(pointer)
        for host in self.pinned:
            self.device.unpin(host)
        for stream in self.streams:
            self.device.close_stream(stream)


class TensorRTSession:
    """An engine, ready to run; threads that come at once take turns. What it holds lies on the card from the start."""

    def __init__(self, trt: Trt, device: DeviceRuntime, engine: Any, held: Arrays | None = None, *, graph: bool = False) -> None:  # noqa: ANN401
        self.trt, self.device, self.engine, self.graph = trt, device, engine, graph
        self.held = dict(held or {})
        self.lock = threading.RLock()
        self.owned = Owned(device)
        self.closing = weakref.finalize(self, self.owned.release)
        self.stream = device.stream()
        self.owned.streams.append(self.stream)
        self.context = self.make_context()
        self.slots = {name: self.place(name) for name in (engine.get_tensor_name(i) for i in range(engine.num_io_tensors))}
        self.give_scratch()
        self.free = deque(self.make_staging() for _ in range(SETS))
        self.under_way: deque[Run] = deque()
        self.bring_held()
        self.recorded = self.warm_up(graph)

    def make_context(self) -> Any:  # noqa: ANN401
        """A context without memory of its own."""
        context = self.engine.create_execution_context(self.trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise EngineError("TensorRT made no execution context; the card may be out of memory")
        return context

    def place(self, name: str) -> Slot:
        """Give a tensor its memory on the card and tell the context."""
        kind = self.engine.get_tensor_dtype(name).name
        if kind not in TYPES:
            raise EngineError(f"the engine's `{name}` is of type {kind}, which no bundle holds; build the bundle again")
        given = self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT
        shape = tuple(int(size) for size in self.engine.get_tensor_shape(name))
        slot = Slot(np.dtype(TYPES[kind]), shape, 0, given)
        pointer = self.device.allocate(slot.size)
        self.owned.pointers.append(pointer)
        if not self.context.set_tensor_address(name, pointer):
            raise EngineError(f"TensorRT refused the memory of `{name}`")
        return Slot(slot.dtype, shape, pointer, given)

    def give_scratch(self) -> None:
        """Ask what is still missing, then give the context its scratch memory."""
        missing = self.context.infer_shapes()
        if missing:
            raise EngineError(f"the engine's shapes are open for {', '.join(missing)}; bundles hold fixed shapes only")
        size = max(int(self.context.update_device_memory_size_for_shapes()), ALIGNED)
        pointer = self.device.allocate(size)
        self.owned.pointers.append(pointer)
        self.context.set_device_memory(pointer, size)

    def make_staging(self) -> dict[str, Bytes]:
        """Pinned memory of the host for every tensor that travels."""
        made = {name: self.device.pinned(slot.size) for name, slot in self.slots.items() if name not in self.held}
        self.owned.pinned += made.values()
        return made

    def bring_held(self) -> None:
        """Upload what is held, once."""
        for name, value in self.held.items():
            host = self.device.pinned(self.slots[name].size)
            self.owned.pinned.append(host)
            host[:] = as_bytes(name, value, self.slots[name])
            self.device.upload(self.slots[name].pointer, host, self.stream)

    def warm_up(self, graph: bool) -> int | None:
        """Run once: TensorRT puts work off until then, and only a warm context may be recorded as a graph."""
        for staging in self.free:
            for host in staging.values():
                host[:] = 0
        self.put_inputs(self.free[0])
        self.enqueue()
        self.device.synchronize(self.stream)
        if not graph:
            return None
        recorded = self.device.capture(self.stream, self.enqueue)
        self.owned.graphs.append(recorded)
        return recorded

    def enqueue(self) -> None:
        """Put the engine's work on the stream."""
        if not self.context.execute_async_v3(self.stream):
            raise EngineError("TensorRT refused to run the engine; its log may tell why")

    def put_inputs(self, staging: Mapping[str, Bytes]) -> None:
        """Put the copies of all inputs that travel on the stream."""
        for name, slot in self.slots.items():
            if slot.given and name not in self.held:
                self.device.upload(slot.pointer, staging[name], self.stream)

    def run(self, inputs: Arrays) -> Outputs:
        """Run once and wait."""
        return self.start(inputs)()

    def start(self, inputs: Arrays) -> Pending:
        """Put a run on the stream; where both staging sets are in use, the older run is waited for first."""
        with self.lock:
            if not self.free:
                self.finish(self.under_way[0])
            staging = self.free[0]
            for name, slot in self.slots.items():
                if slot.given and name not in self.held:
                    if name not in inputs:
                        raise DeviceError(f"the engine asks for `{name}`, which was not given")
                    staging[name][:] = as_bytes(name, inputs[name], slot)
            self.free.popleft()
            self.put_inputs(staging)
            if self.recorded is None:
                self.enqueue()
            else:
                self.device.launch(self.recorded, self.stream)
            for name, slot in self.slots.items():
                if not slot.given:
                    self.device.download(staging[name], slot.pointer, self.stream)
            run = Run(staging, self.device.mark(self.stream))
            self.under_way.append(run)
        return lambda: self.finish(run)

    def finish(self, run: Run) -> Outputs:
        """Wait for a run, copy its outputs out, and free its staging set."""
        with self.lock:
            if run.outputs is None:
                self.device.wait(run.event)
                outgoing = {name: slot for name, slot in self.slots.items() if not slot.given}
                run.outputs = {name: from_bytes(run.staging[name], slot) for name, slot in outgoing.items()}
                self.under_way.remove(run)
                self.free.append(dict(run.staging))
                run.staging = {}
            return run.outputs

    def hold(self, inputs: Arrays) -> TensorRTSession:
        """A session on the same engine with a context of its own, some of whose inputs stay on the card."""
        return TensorRTSession(self.trt, self.device, self.engine, {**self.held, **inputs}, graph=self.graph)


def as_bytes(name: str, value: NDArray[Any], slot: Slot) -> Bytes:
    """An input as the bytes that travel; its type and shape must be the engine's."""
    array = np.ascontiguousarray(value)
    if array.dtype != slot.dtype or tuple(np.shape(value)) != slot.shape:
        raise DeviceError(f"`{name}` must be {slot.dtype} {slot.shape}, found {array.dtype} {np.shape(value)}")
    return array.reshape(-1).view(np.uint8)


def from_bytes(host: Bytes, slot: Slot) -> NDArray[np.float32]:
    """A copy of an output in its own shape; halves come back as float32, as from every backend."""
    return np.array(host.view(slot.dtype).reshape(slot.shape), dtype=np.float32)
