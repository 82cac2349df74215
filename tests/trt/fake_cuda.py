"""A card for tests: memory is bytes, and nothing on a stream happens before somebody waits for it."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

import numpy as np

from runtime.backends.tensorrt.driver import Bytes, EngineTarget
from runtime.errors import DeviceMemoryError


class Misuse(AssertionError):
    """The backend did what NVIDIA's documentation forbids."""


CURRENT = threading.local()  # the card that each thread has selected; as CUDA, every thread begins with card 0


class FakeCard:
    """Keeps its promises late, as a real card does, and counts what is not given back. `index` is its number of a machine's."""

    def __init__(self, limit: int = 1 << 40, index: int = 1) -> None:
        self.limit, self.index = limit, index
        self.gate = threading.Event()  # closed: the card does not come to an end
        self.gate.set()
        self.waited_for = threading.Event()
        self.lock = threading.RLock()  # a card takes calls from several threads at once
        self.memory: dict[int, bytearray] = {}
        self.queues: dict[int, list[Callable[[], None]]] = defaultdict(list)
        self.streams: set[int] = set()
        self.events: dict[int, tuple[int, int]] = {}
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.hosts: dict[int, Bytes] = {}
        self.recording: dict[int, list[Callable[[], None]]] = {}  # by stream: others go on meanwhile
        self.next, self.uploaded = 4096, 0
        self.identity = EngineTarget("Test Card", "9.0", "13.0")

    def number(self, step: int = 4096) -> int:
        with self.lock:
            self.next += step
            return self.next

    def select(self) -> None:
        CURRENT.index = self.index

    def check_selected(self) -> None:
        """Refuse a thread that has not selected this card: its work would go to another one."""
        if getattr(CURRENT, "index", 0) != self.index:
            raise Misuse(f"card {getattr(CURRENT, 'index', 0)} is this thread's current one, not card {self.index}")

    def target(self) -> EngineTarget:
        return self.identity

    def allocate(self, size: int) -> int:
        self.check_selected()
        if sum(map(len, self.memory.values())) + size > self.limit:
            raise DeviceMemoryError("asked for memory on the card; found too little free")
        pointer = self.number(-(-size // 4096) * 4096 + 4096)
        self.memory[pointer] = bytearray(b"\xff" * size)  # what was never written reads as NaN
        return pointer

    def free(self, pointer: int) -> None:
        self.check_selected()
        del self.memory[pointer]

    def allocate_pinned(self, size: int) -> Bytes:
        self.check_selected()
        host = np.full(size, 255, np.uint8)
        self.hosts[id(host)] = host
        return host

    def free_pinned(self, host: Bytes) -> None:
        del self.hosts[id(host)]

    def open_stream(self) -> int:
        self.check_selected()
        stream = self.number()
        self.streams.add(stream)
        return stream

    def close_stream(self, stream: int) -> None:
        self.streams.remove(stream)

    def put(self, stream: int, work: Callable[[], None]) -> None:
        self.check_selected()
        if stream not in self.streams:
            raise Misuse(f"work on stream {stream}, which is the default one or was given back")
        with self.lock:
            self.recording.get(stream, self.queues[stream]).append(work)

    def upload(self, pointer: int, host: Bytes, stream: int) -> None:
        if id(host) not in self.hosts:
            raise Misuse("an upload from memory that is not pinned")
        self.uploaded += host.nbytes
        self.put(stream, lambda: self.memory[pointer].__setitem__(slice(0, host.nbytes), host.tobytes()))

    def download(self, host: Bytes, pointer: int, stream: int) -> None:
        if id(host) not in self.hosts:
            raise Misuse("a download to memory that is not pinned")
        self.put(stream, lambda: host.__setitem__(slice(None), np.frombuffer(self.memory[pointer], np.uint8)[: host.nbytes]))

    def record_event(self, stream: int) -> int:
        self.check_selected()
        with self.lock:
            event = self.number()
            self.events[event] = (stream, len(self.queues[stream]))
            return event

    def wait_for_event(self, event: int) -> None:
        self.check_selected()
        self.waited_for.set()
        assert self.gate.wait(10), "nobody opened the gate"
        with self.lock:
            stream, count = self.events.pop(event)
            self.advance(stream, count)

    def synchronize(self, stream: int) -> None:
        with self.lock:
            self.advance(stream, len(self.queues[stream]))

    def advance(self, stream: int, count: int) -> None:
        """Do the first pieces of work of a stream; events after them move up."""
        for work in self.queues[stream][:count]:
            work()
        del self.queues[stream][:count]
        for event, (owner, place) in self.events.items():
            if owner == stream:
                self.events[event] = (owner, max(0, place - count))

    def capture(self, stream: int, work: Callable[[], None]) -> int:
        self.check_selected()
        if self.queues[stream]:
            raise Misuse("a capture on a stream that still has work to do")
        self.recording[stream] = []
        try:
            work()
            graph = self.number()
            self.graphs[graph] = self.recording[stream]
        finally:
            del self.recording[stream]
        return graph

    def launch(self, graph: int, stream: int) -> None:
        for work in self.graphs[graph]:
            self.put(stream, work)

    def close_graph(self, graph: int) -> None:
        del self.graphs[graph]

    def left(self) -> dict[str, int]:
        """What was not given back."""
        return {
            "memory": len(self.memory),
            "pinned": len(self.hosts),
            "streams": len(self.streams),
            "graphs": len(self.graphs),
            "events": len(self.events),
        }
