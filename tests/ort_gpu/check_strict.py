"""The real onnxruntime-gpu wheel on a machine without a card: what it does in silence, and that we do not.

Run by `make test-ort-gpu` in an environment of its own, since the wheel shares its module with the CPU's.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, save

from runtime.backends.onnx_cuda import CudaOptions, OnnxCudaBackend, backend
from runtime.backends.onnx_cuda.driver import InstalledCard
from runtime.devices import findings, open_backend
from runtime.errors import DeviceError

CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
STRICT = "session.disable_cpu_ep_fallback"


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """A sum."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    path = tmp_path / "sum.onnx"
    made = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "sum", ends[:1], ends[1:])
    save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    return path


def session(graph: Path, providers: list[Any], *, strict: bool = False, **options: object) -> Any:
    chosen = ort.SessionOptions()
    chosen.log_severity_level = 4
    if strict:
        chosen.add_session_config_entry(STRICT, "1")
    return ort.InferenceSession(str(graph), chosen, providers=providers, **options)


@pytest.mark.parametrize(
    ("providers", "options"),
    [
        ([CUDA], {}),
        ([CUDA], {"enable_fallback": 0}),
        ([CUDA, CPU], {}),
        ([TENSORRT, CUDA], {}),
        ([(CUDA, {"no_such_option": "1"})], {}),
    ],
)
def test_the_wheel_falls_back_in_silence(graph: Path, providers: list[Any], options: dict[str, object]) -> None:
    """Why we are strict: should one of these begin to raise, the note in onnx_cuda/backend.py has to be rewritten."""
    found = session(graph, providers, **options)
    assert found.get_providers() == [CPU]
    assert found.run(None, {"x": np.ones(2, np.float32)})[0].tolist() == [2, 2]


def test_tensorrt_alone_without_fallback_raises(graph: Path) -> None:
    with pytest.raises(RuntimeError):
        session(graph, [TENSORRT], enable_fallback=0)


def test_the_strict_flag_raises_and_not_as_a_runtime_error(graph: Path) -> None:
    with pytest.raises(Exception, match=r"(?i)cpu|fallback|provider") as caught:
        session(graph, [CUDA], strict=True, enable_fallback=0)
    assert type(caught.value).__module__.endswith("onnxruntime_pybind11_state")
    assert not isinstance(caught.value, RuntimeError)


def test_the_strict_flag_and_the_cpu_exclude_each_other(graph: Path) -> None:
    with pytest.raises(Exception, match=r"(?i)fallback|explicit"):
        session(graph, [CPU], strict=True)


def test_available_means_compiled_in() -> None:
    assert {CUDA, TENSORRT} <= set(ort.get_available_providers())


@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_asked_for_a_card_we_refuse(device: str) -> None:
    with pytest.raises(DeviceError, match=rf"asked for `{device}`; found no NVIDIA card.*Cause: .*--device cpu"):
        open_backend(device)


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_with_a_card_but_without_its_libraries_we_refuse(monkeypatch: pytest.MonkeyPatch, provider: Any) -> None:
    monkeypatch.setattr(backend, "find_card", lambda index, asked: InstalledCard(index, "Test Card", 1 << 30))
    with pytest.raises(DeviceError, match=r"(?s)asked for .* on `cuda`; found .*Cause: .*--device cpu"):
        OnnxCudaBackend(CudaOptions(provider=provider))


def test_auto_takes_the_cpu_and_says_so() -> None:
    assert open_backend("auto").device == "cpu"
    cuda = next(finding for finding in findings() if finding.device == "cuda")
    assert not cuda.usable
    assert "found no NVIDIA card" in cuda.detail


def test_the_doctor_tells() -> None:
    command = [sys.executable, "-m", "runtime", "doctor"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, env={"COLUMNS": "300"}).stdout
    assert "asked for `cuda`; found no NVIDIA card that can be used" in " ".join(said.split())
