"""ONNX Runtime on a card, on a stand-in for its device memory: what is uploaded when, what overlaps, what errors say."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from runtime import Localizer, devices
from runtime.backends.graph_hash import graph_hash
from runtime.backends.onnx_cuda import CudaOptions, read_options
from runtime.backends.onnx_cuda.errors import translate
from runtime.backends.onnx_cuda.session import CudaSession, OpenGraph
from runtime.errors import BundleError, DeviceError, DeviceMemoryError
from tests.configs import photo
from tests.trt.drive import feed, small_graph, wanted


class OnnxRuntimeError(Exception):
    """As ONNX Runtime's own: derives from Exception alone."""


OnnxRuntimeError.__module__ = "onnxruntime.capi.onnxruntime_pybind11_state"


class Memory:
    """Stands in for the card's memory: counts uploads, forgets nothing."""

    def __init__(self, limit: int = 1 << 40) -> None:
        self.limit, self.used, self.uploads = limit, 0, list[int]()
        self.downloads = threading.Event()
        self.downloads.set()

    def ortvalue_from_shape_and_type(self, shape: list[int], kind: type, device: str, index: int) -> Any:
        size = int(np.prod(shape, dtype=int)) * np.dtype(kind).itemsize
        if self.used + size > self.limit:
            raise OnnxRuntimeError("Failed to allocate memory for requested buffer of size 1073741824")
        self.used += size
        assert (device, index) == ("cuda", 2)
        return Value(self, np.full(shape, 99, kind))


class Value:
    """One array on the card."""

    def __init__(self, memory: Memory, array: np.ndarray) -> None:
        self.memory, self.array = memory, array

    def update_inplace(self, given: np.ndarray) -> None:
        self.memory.uploads.append(given.nbytes)
        self.array[...] = given

    def numpy(self) -> np.ndarray:
        assert self.memory.downloads.wait(10)
        return self.array.copy()


class Binding:
    """What is bound to a graph."""

    def __init__(self) -> None:
        self.inputs: dict[str, Value] = {}
        self.outputs: dict[str, Value] = {}
        self.synchronised = False

    def bind_ortvalue_input(self, name: str, value: Value) -> None:
        self.inputs[name] = value

    def bind_ortvalue_output(self, name: str, value: Value) -> None:
        self.outputs[name] = value

    def synchronize_inputs(self) -> None:
        self.synchronised = True

    def synchronize_outputs(self) -> None:
        assert self.synchronised


class Session:
    """ONNX Runtime's session on the CPU, asked as one on a card is."""

    def __init__(self, graph: Path) -> None:
        self.inner = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
        self.gate, self.runs, self.fault = threading.Event(), 0, ""
        self.gate.set()
        self.computed = threading.Semaphore(0)

    def get_inputs(self) -> Any:
        return self.inner.get_inputs()

    def get_outputs(self) -> Any:
        return self.inner.get_outputs()

    def io_binding(self) -> Binding:
        return Binding()

    def run_with_iobinding(self, binding: Binding) -> None:
        assert self.gate.wait(10)
        self.runs += 1
        if self.fault:
            raise OnnxRuntimeError(self.fault)
        names = list(binding.outputs)
        found = self.inner.run(names, {name: value.array for name, value in binding.inputs.items()})
        for name, array in zip(names, found, strict=True):
            binding.outputs[name].array[...] = array
        self.computed.release()


def opened(graph: Path, memory: Memory | None = None) -> tuple[CudaSession, Session, Memory]:
    memory, session = memory or Memory(), Session(graph)
    translated = partial(translate, asked="cuda:2", graph=graph.name, preload_output="")
    return CudaSession(OpenGraph(SimpleNamespace(OrtValue=memory), session, 2, "small", translated)), session, memory


def test_runs_give_the_right_numbers_whatever_the_order_of_waiting(tmp_path: Path) -> None:
    graph = small_graph(tmp_path)
    session, _, _ = opened(graph)
    feeds = [feed(seed) for seed in range(2)]
    pending = [session.start(inputs) for inputs in feeds]
    for inputs, end in reversed(list(zip(feeds, pending, strict=True))):
        np.testing.assert_array_equal(end()["embeddings"], wanted(graph, inputs))
        np.testing.assert_array_equal(end()["embeddings"], wanted(graph, inputs))


def test_the_next_inputs_are_uploaded_while_a_run_computes(tmp_path: Path) -> None:
    session, inner, memory = opened(small_graph(tmp_path))
    inner.gate.clear()  # the card is busy
    first = session.start(feed(0))
    second = session.start(feed(1))
    assert (inner.runs, len(memory.uploads)) == (0, 6)
    inner.gate.set()
    assert first()["embeddings"].shape == second()["embeddings"].shape == (4, 3)


def test_the_next_run_computes_while_the_last_outputs_are_downloaded(tmp_path: Path) -> None:
    session, inner, memory = opened(small_graph(tmp_path))
    memory.downloads.clear()  # the copy to the host takes long
    first, second = session.start(feed(0)), session.start(feed(1))
    assert inner.computed.acquire(timeout=10)
    assert inner.computed.acquire(timeout=10)  # both, though nothing has come back yet
    memory.downloads.set()
    np.testing.assert_array_equal(first()["embeddings"], wanted(small_graph(tmp_path), feed(0)))
    np.testing.assert_array_equal(second()["embeddings"], wanted(small_graph(tmp_path), feed(1)))


def test_memory_is_taken_once(tmp_path: Path) -> None:
    session, _, memory = opened(small_graph(tmp_path))
    session.run(feed(0))
    used = memory.used
    for seed in range(5):
        session.run(feed(seed))
    assert memory.used == used


def test_what_is_held_is_uploaded_once(tmp_path: Path) -> None:
    graph = small_graph(tmp_path)
    session, _, memory = opened(graph)
    pixels, rest = feed(0)["pixels"], {name: feed(1)[name] for name in ("which", "scale")}
    held = session.hold({"pixels": pixels})
    assert memory.uploads == [pixels.nbytes]
    for _ in range(3):
        np.testing.assert_array_equal(held.run(rest)["embeddings"], wanted(graph, {**rest, "pixels": pixels}))
    assert sum(memory.uploads) == pixels.nbytes + 3 * sum(value.nbytes for value in rest.values())


@pytest.mark.parametrize(("name", "value"), [("scale", np.float64(1)), ("which", np.zeros(3, np.int64))])
def test_wrong_inputs_never_reach_the_card(tmp_path: Path, name: str, value: Any) -> None:
    session, inner, memory = opened(small_graph(tmp_path))
    with pytest.raises(ValueError, match=f"input `{name}` must be"):
        session.run({**feed(0), name: np.asarray(value)})
    assert (inner.runs, memory.uploads) == (0, [])


def test_too_little_memory_is_told_as_such_and_the_session_lives(tmp_path: Path) -> None:
    session, _, memory = opened(small_graph(tmp_path), Memory(limit=40))
    with pytest.raises(DeviceMemoryError, match="found too little free memory on the card"):
        session.run(feed(0))
    memory.limit = 1 << 40
    assert session.run(feed(0))["embeddings"].shape == (4, 3)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("CUDA failure 2: out of memory", DeviceMemoryError),
        ("CUDNN_STATUS_EXECUTION_FAILED in node Conv", DeviceError),
    ],
)
def test_faults_of_a_run_are_told_and_free_their_buffers(tmp_path: Path, words: str, kind: type[Exception]) -> None:
    session, inner, _ = opened(small_graph(tmp_path))
    inner.fault = words
    for _ in range(3):  # more often than there are sets of buffers
        with pytest.raises(kind, match=r"asked for .* on `cuda:2`"):
            session.run(feed(0))
    inner.fault = ""
    assert session.run(feed(0))["embeddings"].shape == (4, 3)


def test_a_localizer_on_it_answers_as_on_the_cpu(
    tiny_bundle: Path, tiny_localizer: Localizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory()

    class Backend:
        device, detail, precisions = "cuda", "a stand-in", ("fp32", "tf32")

        def open(self, graph: Path, precision: str = "fp32") -> CudaSession:
            return opened(graph, memory)[0]

    monkeypatch.setitem(devices.OPENERS, "cuda", lambda wish: Backend())
    ours = Localizer(tiny_bundle, device="cuda:2")
    pictures, questions = [photo("cat"), photo("coffee")], ["a cat", "a dog"]
    for found, expected in zip(ours.stream(pictures, questions), tiny_localizer.stream(pictures, questions), strict=True):
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one.map, other.map, atol=1e-6)
            np.testing.assert_array_equal(one.xyxy, other.xyxy)
    scene = ours.encode(photo("cat"))
    ours.locate(scene, "a cat")
    sent = sum(memory.uploads)
    ours.locate(scene, "a dog")
    again = sum(memory.uploads) - sent
    assert again < scene.embeddings.nbytes / 2  # words went up, the scene was there


def test_broken_files_are_the_bundles_fault() -> None:
    class InvalidProtobuf(Exception):
        pass

    InvalidProtobuf.__module__ = OnnxRuntimeError.__module__
    assert isinstance(translate(InvalidProtobuf("no"), asked="cuda", graph="x", preload_output=""), BundleError)
    own = KeyError("ours")
    assert translate(own, asked="cuda", graph="x", preload_output="") is own


def test_options_become_onnx_runtimes_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path))
    ((name, told),) = CudaOptions(index=1, tf32=True, memory_limit=5).providers(None)
    assert name == "CUDAExecutionProvider"
    assert (told["device_id"], told["use_tf32"], told["prefer_nhwc"], told["gpu_mem_limit"]) == ("1", "1", "1", "5")
    usual = CudaOptions().providers(None)[0][1]
    assert (usual["use_tf32"], usual["fuse_conv_bias"]) == ("0", "0")
    assert read_options({"fuse_conv_bias": True}, 0).providers(None)[0][1]["fuse_conv_bias"] == "1"
    graph = small_graph(tmp_path)
    first, second = read_options({"provider": "tensorrt"}, 0).providers(graph)
    assert (first[0], second[0]) == ("TensorrtExecutionProvider", "CUDAExecutionProvider")
    assert first[1]["trt_engine_cache_prefix"] == graph_hash(graph)[:32]
