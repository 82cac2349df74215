"""OpenVINO on the CPU: the numbers of ONNX Runtime, in exactly the precision asked for, from any number of threads."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import BundleError, DeviceError, Localizer, Scene
from runtime.backends.onnx_cpu import OnnxCpuBackend
from runtime.backends.openvino_cpu import CACHE, OpenVinoBackend, OpenVinoSession, request
from runtime.backends.session import Backend, Session
from tests.configs import photo

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def backend() -> OpenVinoBackend:
    return OpenVinoBackend(2)


def masked_inputs(seed: int = 0) -> Arrays:
    """Passes of the tiny ResNet."""
    noise = np.random.default_rng(seed)
    pixels = noise.integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    return {"pixels": pixels, "which": np.arange(32) % 2, "maps": noise.random((32, 3, 3), dtype=np.float32)}


def test_the_backend_is_one(backend: OpenVinoBackend) -> None:
    whole: Backend = backend
    assert whole.device == "openvino"
    assert backend.detail.startswith("OpenVINO 20")
    assert "2 threads, this processor has FP32" in backend.detail


@pytest.mark.parametrize("graph", ["image", "masked", "text", "saliency"])
def test_every_graph_gives_what_onnx_runtime_gives(backend: OpenVinoBackend, tiny_bundle: Path, graph: str) -> None:
    noise = np.random.default_rng(1)
    unit = noise.normal(size=(528, 64)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    scalars = {"temperature": np.float32(0.1), "combine": np.float32(0), "contrast": np.float32(1)}
    inputs: dict[str, Arrays] = {
        "image": {"pixels": masked_inputs()["pixels"][:1]},
        "masked": masked_inputs(),
        "text": {"tokens": noise.integers(1, 1000, (1, 77))},
        "saliency": {
            **{name: np.asarray(value) for name, value in scalars.items()},
            "embeddings": unit[:512],
            "base": unit[0],
            "texts": unit[512:],
            "maps": noise.random((512, 3, 3), np.float32),
        },
    }
    path = tiny_bundle / f"{graph}.onnx"
    ours, theirs = (one.open(path).run(inputs[graph]) for one in (backend, OnnxCpuBackend(2)))
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == np.float32
        np.testing.assert_allclose(ours[name], value, atol=2e-5 * max(1.0, float(np.abs(value).max())))


def test_outputs_are_fresh_and_inputs_are_left_alone(backend: OpenVinoBackend, tiny_bundle: Path) -> None:
    session: Session = backend.open(tiny_bundle / "masked.onnx")
    inputs = masked_inputs()
    kept = {name: value.copy() for name, value in inputs.items()}
    first = session.run(inputs)["embeddings"]
    copy = first.copy()
    assert not np.array_equal(session.run(masked_inputs(5))["embeddings"], copy)
    assert np.array_equal(first, copy)
    assert all(np.array_equal(inputs[name], kept[name]) for name in kept)
    for value in inputs.values():
        value.setflags(write=False)
    strided = {**inputs, "maps": np.asfortranarray(inputs["maps"])}
    assert np.array_equal(session.run(strided)["embeddings"], copy)


def test_threads_at_once_get_what_one_gets(backend: OpenVinoBackend, tiny_bundle: Path) -> None:
    session = backend.open(tiny_bundle / "masked.onnx")
    expected = [session.run(masked_inputs(seed))["embeddings"] for seed in range(4)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda place: session.run(masked_inputs(place % 4))["embeddings"], range(24)))
    assert all(np.array_equal(one, expected[place % 4]) for place, one in enumerate(found))
    assert 1 <= len(session.idle) <= 8


def test_float32_is_asked_for_and_read_back(backend: OpenVinoBackend, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> None:
    """Left to itself, OpenVINO takes bfloat16 where the processor has it."""
    properties = backend.properties("fp32")
    assert properties["INFERENCE_PRECISION_HINT"] == "f32"
    assert properties["INFERENCE_NUM_THREADS"] == 2
    compiled = backend.compile(backend.core.read_model(tiny_bundle / "saliency.onnx"), "fp32")
    assert compiled.get_property("INFERENCE_PRECISION_HINT") == backend.ov.Type.f32

    class Disobedient:
        """Compiles in another precision than it was asked for, whatever the processor has."""

        def read_model(self, graph: Path) -> Any:
            return None

        def compile_model(self, *given: Any) -> Any:
            return self

        def get_property(self, name: str) -> Any:
            return {"INFERENCE_PRECISION_HINT": backend.ov.Type.bf16, "EXECUTION_DEVICES": ["CPU"]}[name]

    monkeypatch.setattr(backend, "core", Disobedient())
    with pytest.raises(DeviceError, match=r"asked for fp32 on `openvino`, but OpenVINO chose .*bfloat16.* on CPU"):
        backend.open(tiny_bundle / "saliency.onnx")


def test_the_cut_before_the_first_convolution_changes_nothing(backend: OpenVinoBackend, tiny_bundle: Path) -> None:
    path = tiny_bundle / "masked.onnx"
    compiled = [backend.compile(part, "fp32") for part in backend.split(backend.core.read_model(path))]
    assert [len(part.inputs) for part in compiled] == [3, 1]
    session = OpenVinoSession(tiny_bundle / "masked.onnx", lambda: request(compiled))
    whole = backend.open(path)
    for seed in (0, 1):
        ours, theirs = (one.run(masked_inputs(seed))["embeddings"] for one in (session, whole))
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_bf16_is_there_or_refused(backend: OpenVinoBackend, tiny_bundle: Path) -> None:
    if "bf16" not in backend.precisions:
        with pytest.raises(DeviceError, match="asked for precision `bf16` on `openvino`; found fp32"):
            Localizer(tiny_bundle, device="openvino", precision="bf16")
        return
    path = tiny_bundle / "masked.onnx"
    exact, ours = (backend.open(path, precision).run(masked_inputs())["embeddings"] for precision in ("fp32", "bf16"))
    difference = np.abs(ours - exact).max()
    assert 1e-5 < difference < 0.1


def test_a_processor_without_bf16_refuses_it(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> None:
    class Old:
        available_devices = ("CPU",)

        def get_property(self, device: str, name: str) -> list[str]:
            return ["FP32", "INT8"]

    import openvino

    monkeypatch.setattr(openvino, "Core", Old)
    assert OpenVinoBackend(1).precisions == ("fp32",)
    with pytest.raises(DeviceError, match=r"found fp32. Cause: this processor has neither avx512_bf16 nor amx_bf16"):
        Localizer(tiny_bundle, device="openvino", precision="bf16")
    with pytest.raises(DeviceError, match="asked for bf16; OpenVINO offers fp32 on this processor"):
        OpenVinoBackend(1).open(tiny_bundle / "masked.onnx", "bf16")
    monkeypatch.setattr(Old, "available_devices", ())
    with pytest.raises(DeviceError, match="CPU plugin cannot be loaded"):
        OpenVinoBackend(1)


def test_no_wheel_names_the_extra(monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DeviceError, match=r"OpenVINO is not installed: `pip install 'vlscore\[openvino\]'`"):
        Localizer(tiny_bundle, device="openvino")


@pytest.mark.parametrize("content", [b"", b"no graph"])
def test_graphs_that_cannot_be_loaded_are_named(backend: OpenVinoBackend, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r"OpenVINO 20.* cannot load `.*image\.onnx`: "):
        backend.open(tmp_path / "image.onnx")


def test_compiled_graphs_are_kept_and_follow_the_weights(
    bundle_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path / "home"))
    backend, path = OpenVinoBackend(1), bundle_copy / "masked.onnx"

    def from_cache() -> bool:
        compiled = backend.compile(backend.core.read_model(path), "fp32")
        return bool(compiled.get_property("LOADED_FROM_CACHE"))

    assert [from_cache(), from_cache()] == [False, True]
    assert list((tmp_path / "home" / CACHE).iterdir())
    weights = bundle_copy / "image.onnx.weights"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    assert not from_cache()


def test_without_a_place_to_write_nothing_is_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path / "file" / "home"))
    assert "CACHE_DIR" not in OpenVinoBackend(1).properties("fp32")


def test_a_whole_answer(tiny_bundle: Path, tiny_localizer: Localizer, cat_scene: Scene) -> None:
    localizer = Localizer(tiny_bundle, device="openvino", threads=2)
    assert (localizer.device, localizer.precision, localizer.info["precision"]) == ("openvino", "fp32", "fp32")
    scene = localizer.encode(photo("cat"))
    np.testing.assert_allclose(scene.embeddings, cat_scene.embeddings, atol=1e-5)
    ours, theirs = (one.locate(cat_scene, "a cat") for one in (localizer, tiny_localizer))
    np.testing.assert_allclose(ours.map, theirs.map, atol=1e-4)
    assert ours.kept == theirs.kept


def test_only_masked_passes_leave_float32(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OpenVinoBackend, "__init__", pretend)
    localizer = Localizer(tiny_bundle, device="openvino", precision="bf16")
    half = localizer.encoder.sessions
    texts = [graph.session for graph in localizer.text.graphs]
    sessions: list[Any] = [half["image"], half["masked"], half["instant"], *texts, localizer.answerer.session]
    assert [session.precision for session in sessions] == ["fp32", "bf16", *["fp32"] * 5]
    assert (localizer.precision, localizer.info["precision"], localizer.encoder.precision) == ("bf16", "bf16", "bf16")


def pretend(self: OpenVinoBackend, threads: int) -> None:
    """A backend that has bf16, whatever the processor."""
    self.detail, self.precisions = "pretended", ("fp32", "bf16")


@pytest.mark.parametrize(
    ("limit", "offered"), [("avx2", False), ("AVX512_CORE_VNNI", False), ("AVX512_CORE_BF16", True), ("", True)]
)
def test_a_limit_on_instructions_is_a_limit_on_precisions(monkeypatch: pytest.MonkeyPatch, limit: str, offered: bool) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    found = OpenVinoBackend(1)
    told = "BF16" in found.core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert ("bf16" in found.precisions) == (offered and told)
    assert ("BF16" in found.detail) == ("bf16" in found.precisions)
