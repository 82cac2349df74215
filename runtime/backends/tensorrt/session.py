"""One TensorRT engine on a stream of its own: fixed addresses, memory that we manage, two runs under way at once."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from runtime.backends.session import Arrays, Outputs, Pending
from runtime.backends.tensorrt.build import EngineError, TensorRT
from runtime.backends.tensorrt.driver import Bytes, Driver
from runtime.backends.tensorrt.memory import TYPES, CardResources, TensorBuffer, as_bytes, from_bytes
from runtime.errors import DeviceError, DeviceWarning

STAGING_SETS = 2  # the next run is put on the stream while one is under way
IDLE = 2  # sessions that wait, with their memory on the card, for the next inputs to be held
SCRATCH_ALIGNMENT = 256  # the least that TensorRT wants its scratch memory to be
Engine = Any  # of TensorRT
Staging = Mapping[str, Bytes]  # pinned memory of the host for every tensor that is copied to or from the card


@dataclass(slots=True, eq=False)
class PendingRun:
    """A run on the stream: the staging memory that it uses, the event at its end, and then its outputs."""

    staging: Staging
    event: int
    outputs: Outputs | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)  # of those who wait for it


class TensorRTSession:
    """An engine, ready to run; threads that come at once take turns. Held inputs are on the card from the start."""

    def __init__(
        self,
        trt: TensorRT,
        driver: Driver,
        engine: Engine,
        held: Arrays | None = None,
        *,
        capture: bool = False,
    ) -> None:
        self.trt, self.driver, self.engine, self.capture = trt, driver, engine, capture
        self.held = frozenset(held or {})  # names of the inputs that stay on the card
        self.idle: dict[frozenset[str], deque[TensorRTSession]] = {}  # by what they hold; each is one that nobody uses
        self.order = threading.Lock()  # of the stream: one start after another
        self.lock = threading.Lock()  # of the two queues below; never held while the card is waited for
        self.resources = CardResources(driver)
        self.closing = weakref.finalize(self, self.resources.release)
        driver.select()
        self.stream = driver.open_stream()
        self.resources.streams.append(self.stream)
        self.context = self.make_context()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        self.tensors = {name: self.allocate_tensor(name) for name in names}
        self.allocate_scratch()
        self.free: deque[Staging] = deque(self.allocate_staging() for _ in range(STAGING_SETS))
        self.held_memory = {name: self.allocate_pinned(self.tensors[name]) for name in self.held}
        self.pending: deque[PendingRun] = deque()
        self.upload_held(held or {})
        self.warm_up()
        self.graph = self.capture_graph() if capture else None

    def make_context(self) -> Any:  # noqa: ANN401 - TensorRT's classes are only there when it is
        """A context without memory of its own."""
        context = self.engine.create_execution_context(self.trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise EngineError("TensorRT made no execution context; the card may be out of memory")
        return context

    def allocate_tensor(self, name: str) -> TensorBuffer:
        """Allocate a tensor's memory on the card and give its address to the context."""
        kind = self.engine.get_tensor_dtype(name).name
        if kind not in TYPES:
            raise EngineError(f"the engine's `{name}` is of type {kind}, which no bundle holds; build the bundle again")
        dtype, shape = np.dtype(TYPES[kind]), tuple(int(size) for size in self.engine.get_tensor_shape(name))
        pointer = self.driver.allocate(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        self.resources.pointers.append(pointer)
        if not self.context.set_tensor_address(name, pointer):
            raise EngineError(f"TensorRT refused the memory of `{name}`")
        return TensorBuffer(dtype, shape, pointer, self.engine.get_tensor_mode(name) == self.trt.TensorIOMode.INPUT)

    def allocate_scratch(self) -> None:
        """Check that every shape is known, then give the context its scratch memory."""
        missing = self.context.infer_shapes()
        if missing:
            raise EngineError(f"the engine's shapes are open for {', '.join(missing)}; bundles hold fixed shapes only")
        size = max(int(self.context.update_device_memory_size_for_shapes()), SCRATCH_ALIGNMENT)
        pointer = self.driver.allocate(size)
        self.resources.pointers.append(pointer)
        self.context.set_device_memory(pointer, size)

    def allocate_staging(self) -> dict[str, Bytes]:
        """Pinned memory of the host for every tensor that is copied in each run."""
        return {name: self.allocate_pinned(tensor) for name, tensor in self.tensors.items() if name not in self.held}

    def allocate_pinned(self, tensor: TensorBuffer) -> Bytes:
        """Pinned memory of the host for one tensor."""
        host = self.driver.allocate_pinned(int(np.prod(tensor.shape, dtype=np.int64)) * tensor.dtype.itemsize)
        self.resources.pinned.append(host)
        return host

    def upload_held(self, held: Arrays) -> None:
        """Upload the inputs that stay. What is still on the stream, if anything, are runs whose outputs nobody asks for."""
        self.driver.select()
        with self.order:
            for name, host in self.held_memory.items():
                host[:] = as_bytes(name, held[name], self.tensors[name])
                self.driver.upload(self.tensors[name].pointer, host, self.stream)

    def warm_up(self) -> None:
        """Run once on zeros: TensorRT puts work off until then, and only a warm context may be captured as a graph."""
        for staging in self.free:
            for host in staging.values():
                host[:] = 0
        self.upload_inputs(self.free[0])
        self.enqueue()
        self.driver.synchronize(self.stream)

    def capture_graph(self) -> int | None:
        """Capture the engine's launches as a CUDA graph; where that fails, warn and launch them one by one in every run."""
        try:
            graph = self.driver.capture(self.stream, self.enqueue)
        except DeviceError as error:
            warnings.warn(f"an engine cannot be captured as a CUDA graph and runs without ({error})", DeviceWarning, stacklevel=2)
            return None
        self.resources.graphs.append(graph)
        return graph

    def enqueue(self) -> None:
        """Put the engine's work on the stream."""
        if not self.context.execute_async_v3(self.stream):
            raise EngineError("TensorRT refused to run the engine; its log may say why")

    def upload_inputs(self, staging: Staging) -> None:
        """Put the copies of all inputs that are not held on the stream."""
        for name, tensor in self.tensors.items():
            if tensor.is_input and name not in self.held:
                self.driver.upload(tensor.pointer, staging[name], self.stream)

    def run(self, inputs: Arrays) -> Outputs:
        """Run once and wait."""
        return self.start(inputs)()

    def start(self, inputs: Arrays) -> Pending:
        """Put a run on the stream; where both staging sets are in use, the older run is waited for first."""
        self.driver.select()
        with self.order:
            staging = self.take_staging()
            try:
                self.fill(staging, inputs)
                self.enqueue_run(staging)
                run = PendingRun(staging, self.driver.record_event(self.stream))
            except BaseException:
                with self.lock:
                    self.free.append(staging)
                raise
            with self.lock:
                self.pending.append(run)
        return lambda: self.finish(run)

    def take_staging(self) -> Staging:
        """A staging set that no run uses; where both are in use, the older run's, after its end."""
        with self.lock:
            oldest = None if self.free else self.pending[0]
        if oldest is not None:
            self.finish(oldest)
        with self.lock:
            return self.free.popleft()

    def fill(self, staging: Staging, inputs: Arrays) -> None:
        """Copy the inputs that are not held into a staging set."""
        for name, tensor in self.tensors.items():
            if tensor.is_input and name not in self.held:
                if name not in inputs:
                    raise DeviceError(f"the engine asks for `{name}`, which was not given")
                staging[name][:] = as_bytes(name, inputs[name], tensor)

    def enqueue_run(self, staging: Staging) -> None:
        """Put a whole run on the stream: inputs up, the engine, outputs down."""
        self.upload_inputs(staging)
        if self.graph is None:
            self.enqueue()
        else:
            self.driver.launch(self.graph, self.stream)
        for name, tensor in self.tensors.items():
            if not tensor.is_input:
                self.driver.download(staging[name], tensor.pointer, self.stream)

    def finish(self, run: PendingRun) -> Outputs:
        """Wait for a run, copy its outputs out, and free its staging set; other threads may start runs meanwhile."""
        with run.lock:
            if run.outputs is None:
                self.driver.select()
                self.driver.wait_for_event(run.event)
                outputs = {name: tensor for name, tensor in self.tensors.items() if not tensor.is_input}
                run.outputs = {name: from_bytes(run.staging[name], tensor) for name, tensor in outputs.items()}
                with self.lock:
                    self.pending.remove(run)
                    self.free.append(run.staging)
            return run.outputs

    def hold(self, inputs: Arrays) -> HeldSession:
        """A session on the same engine, some of whose inputs stay on the card.

        It is one that did the same before and that nobody uses any more, which costs an upload; a new one where there is none.
        """
        idle = self.idle.setdefault(frozenset(inputs), deque(maxlen=IDLE))
        try:
            session = idle.pop()  # of one piece: threads that come at once get different ones
        except IndexError:
            session = TensorRTSession(self.trt, self.driver, self.engine, inputs, capture=self.capture)
        else:
            session.upload_held(inputs)
        return HeldSession(self, session, inputs, idle)


class HeldSession:
    """A session that holds inputs on the card, for as long as somebody has this; then it waits for others."""

    def __init__(self, engine: TensorRTSession, session: TensorRTSession, held: Arrays, idle: deque[TensorRTSession]) -> None:
        self.engine, self.session, self.held = engine, session, dict(held)
        # Called by the collector, at any time: appending waits for no lock, and where there are enough the oldest is let go.
        weakref.finalize(self, idle.append, session).atexit = False

    def run(self, inputs: Arrays) -> Outputs:
        """Run once and wait."""
        return self.start(inputs)()

    def start(self, inputs: Arrays) -> Pending:
        """Begin a run; until its end is seen nobody else gets the session."""
        pending = self.session.start(inputs)

        def finish(held: HeldSession = self) -> Outputs:
            return pending()

        return finish

    def hold(self, inputs: Arrays) -> HeldSession:
        """A session that holds these as well."""
        return self.engine.hold({**self.held, **inputs})
