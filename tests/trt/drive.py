"""One drive through the whole TensorRT backend on the stand-ins: what every correct version of it must survive."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.trt.fake_cuda import CURRENT, FakeCard
from tests.trt.fake_trt import Fake

Arrays = Mapping[str, NDArray[Any]]


def small_graph(folder: Path) -> Path:
    """Bytes, whole numbers, a scalar and floats in; floats out: everything that bundles send."""
    path = folder / "masked.onnx"
    nodes = [
        helper.make_node("Cast", ["pixels"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["f", "which"], ["g"], axis=0),
        helper.make_node("Mul", ["g", "scale"], ["s"]),
        helper.make_node("Add", ["s", "w"], ["embeddings"]),
    ]
    inputs = [
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, [2, 3]),
        helper.make_tensor_value_info("which", TensorProto.INT64, [4]),
        helper.make_tensor_value_info("scale", TensorProto.FLOAT, []),
    ]
    output = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, [4, 3])
    weights = [numpy_helper.from_array(np.array([0.5, 0.25, 0.125], np.float32), "w")]
    graph = helper.make_graph(nodes, "small", inputs, [output], initializer=weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def feed(seed: int) -> dict[str, NDArray[Any]]:
    """Inputs that differ from run to run."""
    rng = np.random.default_rng(seed)
    return {
        "pixels": rng.integers(0, 255, (2, 3), dtype=np.uint8),
        "which": rng.integers(0, 2, 4),
        "scale": np.asarray(np.float32(rng.random())),
    }


def wanted(graph: Path, inputs: Arrays) -> NDArray[np.float32]:
    """What ONNX Runtime makes of it."""
    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    found: NDArray[np.float32] = session.run(None, dict(inputs))[0]
    return found


def on_a_new_thread(call: Callable[..., Any], *given: object) -> Any:
    """Call on a thread that has selected no card."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(call, *given).result()


def drive(module: ModuleType, folder: Path, major: int) -> None:
    """Build, run, overlap, hold, open again from the folder, all of it on any thread, and give everything back."""
    graph, card = small_graph(folder), FakeCard()
    fake = Fake(major, card)
    backend = module.TensorRTBackend(trt=fake, driver=card)
    session = backend.open(graph)
    feeds = [feed(seed) for seed in range(5)]
    pending = [session.start(inputs) for inputs in feeds]  # more at once than there are staging sets
    for inputs, end in reversed(list(zip(feeds, pending, strict=True))):
        np.testing.assert_array_equal(end()["embeddings"], wanted(graph, inputs))
        np.testing.assert_array_equal(end()["embeddings"], wanted(graph, inputs))
    held = session.hold({"pixels": feeds[0]["pixels"]})
    sent = card.uploaded
    rest = {name: feeds[1][name] for name in ("which", "scale")}
    np.testing.assert_array_equal(held.run(rest)["embeddings"], wanted(graph, {**rest, "pixels": feeds[0]["pixels"]}))
    assert card.uploaded - sent == sum(value.nbytes for value in rest.values())
    beside = session.hold({"pixels": feeds[3]["pixels"]})  # while the first is in use
    there = (fake.contexts, card.left())
    np.testing.assert_array_equal(beside.run(rest)["embeddings"], wanted(graph, {**rest, "pixels": feeds[3]["pixels"]}))
    end = beside.start(rest)  # keeps the session from others until its end is seen
    del beside
    np.testing.assert_array_equal(held.run(rest)["embeddings"], wanted(graph, {**rest, "pixels": feeds[0]["pixels"]}))
    np.testing.assert_array_equal(end()["embeddings"], wanted(graph, {**rest, "pixels": feeds[3]["pixels"]}))
    del end
    beside = session.hold({"pixels": feeds[4]["pixels"]})
    np.testing.assert_array_equal(beside.run(rest)["embeddings"], wanted(graph, {**rest, "pixels": feeds[4]["pixels"]}))
    assert (fake.contexts, card.left()) == there  # an upload, and nothing made
    np.testing.assert_array_equal(session.run(feeds[2])["embeddings"], wanted(graph, feeds[2]))
    assert fake.builds == [{"flags": set(), "level": 3}]  # once, without TF32
    again = module.TensorRTBackend(trt=fake, driver=card).open(graph)
    np.testing.assert_array_equal(again.run(feeds[3])["embeddings"], wanted(graph, feeds[3]))
    assert len(fake.builds) == 1
    reopened = on_a_new_thread(backend.open, graph)
    held_there = on_a_new_thread(reopened.hold, {"pixels": feeds[1]["pixels"]})
    del held_there
    held_there = on_a_new_thread(reopened.hold, {"pixels": feeds[2]["pixels"]})
    end = on_a_new_thread(held_there.start, rest)
    np.testing.assert_array_equal(on_a_new_thread(end)["embeddings"], wanted(graph, {**rest, "pixels": feeds[2]["pixels"]}))
    CURRENT.index = 0  # as after another library's work on another card
    del session, held, beside, again, pending, end, backend, reopened, held_there
    gc.collect()
    assert card.left() == {"memory": 0, "pinned": 0, "streams": 0, "graphs": 0, "events": 0}
