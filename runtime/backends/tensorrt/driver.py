"""Memory, streams and graphs of an NVIDIA card, behind a protocol that tests implement without a card.

The only module that imports `cuda.bindings`, and only when a card is opened: neither PyTorch nor pycuda is needed.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import DeviceError, DeviceMemoryError

Bytes = NDArray[np.uint8]
NO_CARD = ("cudaErrorInsufficientDriver", "cudaErrorNoDevice", "cudaErrorInitializationError")
NO_MEMORY = "cudaErrorMemoryAllocation"


@dataclass(frozen=True)
class EngineTarget:
    """What an engine is built for: the card's name, its compute capability, and CUDA's version."""

    name: str
    capability: str
    cuda: str


class Driver(Protocol):
    """What the TensorRT backend asks of a card. Pointers, streams, events and graphs are plain numbers."""

    def select(self) -> None:
        """Make this card the calling thread's current one: CUDA starts every thread on card 0."""
        ...

    def target(self) -> EngineTarget:
        """What engines for this card are built for."""
        ...

    def allocate(self, size: int) -> int:
        """Memory on the card."""
        ...

    def free(self, pointer: int) -> None:
        """Give memory on the card back."""
        ...

    def allocate_pinned(self, size: int) -> Bytes:
        """Memory of the host that the card copies from and to by itself, until it is given to `free_pinned`."""
        ...

    def free_pinned(self, host: Bytes) -> None:
        """Give such memory back; the array must not be used any more."""
        ...

    def open_stream(self) -> int:
        """A new stream, never the default one."""
        ...

    def close_stream(self, stream: int) -> None:
        """Give a stream back."""
        ...

    def upload(self, pointer: int, host: Bytes, stream: int) -> None:
        """Copy to the card when the stream gets there."""
        ...

    def download(self, host: Bytes, pointer: int, stream: int) -> None:
        """Copy from the card when the stream gets there."""
        ...

    def record_event(self, stream: int) -> int:
        """An event at the stream's present end."""
        ...

    def wait_for_event(self, event: int) -> None:
        """Wait for an event, and give it back."""
        ...

    def synchronize(self, stream: int) -> None:
        """Wait until a stream is empty."""
        ...

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """Record what the work puts on the stream, as a graph that can be launched."""
        ...

    def launch(self, graph: int, stream: int) -> None:
        """Run a recorded graph."""
        ...

    def close_graph(self, graph: int) -> None:
        """Give a graph back."""
        ...


class CudaDriver:
    """The card itself, through NVIDIA's own bindings."""

    def __init__(self, index: int = 0, *, asked: str = "tensorrt") -> None:
        self.rt, self.index, self.asked = import_cuda(asked), index, asked
        count = self.call("cudaGetDeviceCount")
        if index >= count:
            raise DeviceError(f"asked for `{asked}:{index}`; found {count} card(s). Cause: cards count from 0. Choose another")
        self.select()

    def call(self, name: str, *given: object) -> Any:  # noqa: ANN401 - every function of CUDA gives another type
        """Call a function of CUDA's runtime; every error is raised, with its name."""
        error, *found = getattr(self.rt, name)(*given)
        if int(error):
            raise cuda_error(error.name, name, self.asked)
        return found[0] if len(found) == 1 else found

    def select(self) -> None:
        """Make this card the calling thread's current one; it stays so for whatever else the thread does."""
        self.call("cudaSetDevice", self.index)

    def target(self) -> EngineTarget:
        """What engines for this card are built for."""
        found = self.call("cudaGetDeviceProperties", self.index)
        name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
        version = int(self.call("cudaRuntimeGetVersion"))
        return EngineTarget(name.rstrip("\0"), f"{found.major}.{found.minor}", f"{version // 1000}.{version % 1000 // 10}")

    def allocate(self, size: int) -> int:
        """Memory on the card."""
        return int(self.call("cudaMalloc", max(size, 1)))

    def free(self, pointer: int) -> None:
        """Give memory on the card back."""
        self.call("cudaFree", pointer)

    def allocate_pinned(self, size: int) -> Bytes:
        """Pinned memory of the host, as an array over it."""
        pointer = int(self.call("cudaMallocHost", max(size, 1)))
        return np.ctypeslib.as_array((ctypes.c_uint8 * max(size, 1)).from_address(pointer))[:size]

    def free_pinned(self, host: Bytes) -> None:
        """Give pinned memory back."""
        self.call("cudaFreeHost", host.ctypes.data)

    def open_stream(self) -> int:
        """A stream that does not wait for the default one."""
        return int(self.call("cudaStreamCreateWithFlags", self.rt.cudaStreamNonBlocking))

    def close_stream(self, stream: int) -> None:
        """Give a stream back."""
        self.call("cudaStreamDestroy", stream)

    def upload(self, pointer: int, host: Bytes, stream: int) -> None:
        """Copy to the card when the stream gets there."""
        kind = self.rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call("cudaMemcpyAsync", pointer, host.ctypes.data, host.nbytes, kind, stream)

    def download(self, host: Bytes, pointer: int, stream: int) -> None:
        """Copy from the card when the stream gets there."""
        kind = self.rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpyAsync", host.ctypes.data, pointer, host.nbytes, kind, stream)

    def record_event(self, stream: int) -> int:
        """An event at the stream's present end."""
        event = self.call("cudaEventCreateWithFlags", self.rt.cudaEventDisableTiming)
        self.call("cudaEventRecord", event, stream)
        return int(event)

    def wait_for_event(self, event: int) -> None:
        """Wait for an event, and give it back."""
        self.call("cudaEventSynchronize", event)
        self.call("cudaEventDestroy", event)

    def synchronize(self, stream: int) -> None:
        """Wait until a stream is empty."""
        self.call("cudaStreamSynchronize", stream)

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        """Record what the work puts on the stream; whatever fails, the stream is usable again afterwards."""
        self.call("cudaStreamBeginCapture", stream, self.rt.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal)
        ended, graph = False, None
        try:
            work()
            ended, graph = True, self.call("cudaStreamEndCapture", stream)
            return int(self.call("cudaGraphInstantiate", graph, 0))
        except BaseException:
            if not ended:
                self.rt.cudaStreamEndCapture(stream)
            self.rt.cudaGetLastError()  # else the next call would report the error of the capture
            raise
        finally:
            if graph is not None:
                self.rt.cudaGraphDestroy(graph)

    def launch(self, graph: int, stream: int) -> None:
        """Run a recorded graph."""
        self.call("cudaGraphLaunch", graph, stream)

    def close_graph(self, graph: int) -> None:
        """Give a graph back."""
        self.call("cudaGraphExecDestroy", graph)


def cuda_error(error: str, function: str, asked: str) -> DeviceError:
    """The error of the project for an error of a function of CUDA's."""
    if error in NO_CARD:
        return DeviceError(
            f"asked for `{asked}`; found no NVIDIA card that can be used. Cause: {error}: there is no card, or no driver, or one "
            "older than this CUDA. Check `nvidia-smi`, or use `--device cpu`; it never falls back in silence"
        )
    if error == NO_MEMORY:
        return DeviceMemoryError(
            f"asked for memory on the card; found too little free ({function}: {error}). Close what else uses the card, or build "
            "a bundle of a smaller `--batch`"
        )
    return DeviceError(
        f"asked the card for {function}; found {error}. Check `nvidia-smi`; after such an error start the program again"
    )


def import_cuda(asked: str) -> ModuleType:
    """Import CUDA's runtime bindings, or say which extra brings them."""
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise DeviceError(
            f"asked for `{asked}`; found no `cuda-bindings`. Cause: {error}. Repair: `pip install 'vlscore[tensorrt]'`, or use "
            "`--device cpu`"
        ) from error
