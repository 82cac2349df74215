"""ONNX Runtime on the CPU: what it loads, and what it says when it is not there."""

from __future__ import annotations

import importlib.metadata
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from runtime import BundleError, DeviceError
from runtime.backends import onnx_cpu
from runtime.backends.onnx_cpu import OnnxCpuBackend, import_onnxruntime, installed_wheels
from runtime.backends.openvino_cpu import OpenVinoBackend
from runtime.backends.session import Backend, Session, failed_run
from runtime.errors import DeviceMemoryError


def installed(*names: str) -> Callable[[str], str]:
    """A set of installed packages."""

    def version(name: str) -> str:
        if name not in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return "1.0"

    return version


def test_both_wheels_are_a_fault_that_names_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", installed("onnxruntime", "onnxruntime-gpu"))
    assert installed_wheels() == ["onnxruntime", "onnxruntime-gpu"]
    with pytest.raises(DeviceError) as caught:
        OnnxCpuBackend(1)
    message = str(caught.value)
    assert "both `onnxruntime` and `onnxruntime-gpu` are installed; they overwrite each other's files" in message
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in message
    assert "pip install 'vlscore[cpu]'" in message


def test_no_wheel_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", installed())
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert installed_wheels() == []
    with pytest.raises(DeviceError, match=r"ONNX Runtime is not installed: `pip install 'vlscore\[cpu\]'`.*'vlscore\[gpu\]'"):
        OnnxCpuBackend(1)


@pytest.mark.parametrize("wheel", ["onnxruntime", "onnxruntime-gpu"])
def test_either_wheel_alone_will_do(monkeypatch: pytest.MonkeyPatch, wheel: str) -> None:
    monkeypatch.setattr(importlib.metadata, "version", installed(wheel))
    assert import_onnxruntime().__name__ == "onnxruntime"


def test_a_wheel_that_cannot_be_loaded_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def find_spec(self, name: str, *_: object) -> None:
            if name == "onnxruntime":
                raise ImportError("libonnxruntime.so.1: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Failing(), *sys.meta_path])
    with pytest.raises(DeviceError, match="cannot open shared object file"):
        import_onnxruntime()


def test_the_backend_is_one() -> None:
    backend: Backend = OnnxCpuBackend(2)
    assert backend.device == "cpu"
    assert backend.detail.startswith("ONNX Runtime 1.")


def test_a_session_gives_named_arrays(tiny_bundle: Path) -> None:
    session: Session = OnnxCpuBackend(2).open(tiny_bundle / "image.onnx")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3), dtype=np.uint8)
    outputs = session.run({"pixels": pixels})
    assert {name: array.shape for name, array in outputs.items()} == {"maps": (512, 3, 3), "embedding": (64,)}
    assert all(array.dtype == np.float32 for array in outputs.values())
    assert np.linalg.norm(outputs["embedding"]) == pytest.approx(1, abs=1e-6)
    again = session.run({"pixels": pixels})
    assert all(np.array_equal(outputs[name], again[name]) for name in outputs)


def test_sessions_run_on_the_cpu_with_the_threads_asked(tiny_bundle: Path) -> None:
    session = OnnxCpuBackend(2).open(tiny_bundle / "saliency.onnx").session
    assert session.get_providers() == ["CPUExecutionProvider"]
    assert session.get_session_options().intra_op_num_threads == 2


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x07"])
def test_graphs_that_cannot_be_loaded_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"ONNX Runtime 1\..* cannot load `.*image\.onnx`: "):
        OnnxCpuBackend(1).open(tmp_path / "image.onnx")


def test_weights_gone_since_the_check_are_named(bundle_copy: Path) -> None:
    (bundle_copy / "image.onnx.weights").unlink()
    with pytest.raises(BundleError, match=r"cannot load `.*masked\.onnx`"):
        OnnxCpuBackend(1).open(bundle_copy / "masked.onnx")


def gather_of(table: int) -> bytes:
    """A graph that looks numbers up in a table of so many rows."""
    lookup = onnx.helper.make_node("Gather", ["table", "which"], ["found"])
    info = onnx.helper.make_tensor_value_info
    which, found = info("which", onnx.TensorProto.INT64, [1]), info("found", onnx.TensorProto.FLOAT, [1, 2])
    rows = onnx.helper.make_tensor("table", onnx.TensorProto.FLOAT, [table, 2], np.zeros(2 * table, np.float32))
    graph = onnx.helper.make_graph([lookup], "lookup", [which], [found], [rows])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("backend", [OnnxCpuBackend, OpenVinoBackend])
def test_a_graph_that_fails_when_it_runs_is_named_and_nothing_is_printed(
    tmp_path: Path, backend: type[OnnxCpuBackend | OpenVinoBackend], capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.onnx").write_bytes(gather_of(3))
    session = backend(1).open(tmp_path / "text.onnx")
    assert session.run({"which": np.array([2])})["found"].shape == (1, 2)
    with pytest.raises(BundleError, match=r"cannot run `.*text\.onnx`: .*; build the bundle again"):
        session.run({"which": np.zeros((2, 2)) if backend is OpenVinoBackend else np.array([7])})
    assert capfd.readouterr() == ("", "")


def test_threads_that_cannot_be_started_are_an_error_and_not_a_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.onnx").write_bytes(gather_of(3))
    started = []

    def start(thread: threading.Thread, whole: Callable[[threading.Thread], None] = threading.Thread.start) -> None:
        if len(started) == 3:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        whole(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(DeviceError, match=r"asked for 8 threads; found that this process may start only 3 more"):
        OnnxCpuBackend(9).open(tmp_path / "text.onnx")
    assert not any(thread.is_alive() for thread in started)


def test_a_run_that_finds_no_memory_is_no_fault_of_the_bundle(tmp_path: Path) -> None:
    fault = failed_run("ONNX Runtime", tmp_path / "a.onnx", RuntimeError("BFCArena: Failed to allocate memory for 9 bytes"))
    assert isinstance(fault, DeviceMemoryError)
    assert "close other programs" in str(fault)


def test_another_provider_is_not_accepted(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = OnnxCpuBackend(1)
    monkeypatch.setattr(backend.ort.InferenceSession, "get_providers", lambda self: ["OtherExecutionProvider"])
    with pytest.raises(DeviceError, match=r"asked for `cpu`, but ONNX Runtime chose \['OtherExecutionProvider'\]"):
        backend.open(tiny_bundle / "saliency.onnx")


def test_the_module_is_imported_late() -> None:
    assert not hasattr(onnx_cpu, "onnxruntime")
