"""The driver on a stand-in for NVIDIA's bindings: the card of every thread, and captures that fail."""

from __future__ import annotations

import enum
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.backends.tensorrt import driver
from runtime.backends.tensorrt.driver import CudaDriver
from runtime.errors import DeviceError

Error = enum.IntEnum("Error", {"cudaSuccess": 0, "cudaErrorStreamCaptureInvalidated": 901})


class Bindings:
    """Answers every call with success and a number, unless it is one of `fails`; keeps what was called, by thread."""

    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=2)

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], int]] = []
        self.fails: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any) -> tuple[Error, int]:
            self.calls.append((name, given, threading.get_ident()))
            return Error(901 if name in self.fails else 0), 4

        return call

    def names(self) -> list[str]:
        return [name for name, _, _ in self.calls]


@pytest.fixture
def bindings(monkeypatch: pytest.MonkeyPatch) -> Bindings:
    found = Bindings()
    monkeypatch.setattr(driver, "import_cuda", lambda asked: found)
    return found


def test_a_card_is_selected_for_the_thread_that_asks(bindings: Bindings) -> None:
    card = CudaDriver(3)
    thread = threading.Thread(target=card.select)
    thread.start()
    thread.join()
    selected = [(given, where) for name, given, where in bindings.calls if name == "cudaSetDevice"]
    assert selected == [((3,), threading.get_ident()), ((3,), thread.ident)]


def test_a_card_that_is_not_there_is_refused(bindings: Bindings) -> None:
    with pytest.raises(DeviceError, match="found 4 card"):
        CudaDriver(4)


def test_work_that_fails_leaves_the_stream_out_of_the_capture(bindings: Bindings) -> None:
    def work() -> None:
        raise DeviceError("refused")

    card = CudaDriver(0)
    bindings.calls.clear()
    with pytest.raises(DeviceError, match="refused"):
        card.capture(7, work)
    assert bindings.names() == ["cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGetLastError"]


@pytest.mark.parametrize(("fault", "destroyed"), [("cudaStreamEndCapture", 0), ("cudaGraphInstantiate", 1)])
def test_a_capture_that_fails_at_its_end_keeps_no_graph(bindings: Bindings, fault: str, destroyed: int) -> None:
    card = CudaDriver(0)
    bindings.fails.add(fault)
    with pytest.raises(DeviceError, match="cudaErrorStreamCaptureInvalidated"):
        card.capture(7, lambda: None)
    assert bindings.names().count("cudaGraphDestroy") == destroyed
    assert "cudaGetLastError" in bindings.names()
