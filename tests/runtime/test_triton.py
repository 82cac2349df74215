"""The front model in full, on a server made for the tests: the same answers as `Localizer`, and faults that stay alone."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.json_format import MessageToDict

from export.triton import Serving, write_repository
from runtime import Localizer
from runtime.bundles import open_bundle
from tests.configs import PICTURES, ROOT, photo
from tests.export.triton_made import ClientRequest, Server, TritonError, read_config

QUERIES = ["a cat", "a dog"]
Start = Callable[..., tuple[Any, Server]]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Serve a bundle: `start(folder, preset="fast")` gives the front model and its server."""

    def serve(folder: Path, **options: Any) -> tuple[Any, Server]:
        repository = tmp_path / "models"
        write_repository(open_bundle(folder), repository, Serving(**options))
        server = Server(repository)
        monkeypatch.setitem(sys.modules, "triton_python_backend_utils", server.module())
        spec = importlib.util.spec_from_file_location("served_model", repository / "vlscore" / "1" / "model.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        model = module.TritonPythonModel()
        config = MessageToDict(read_config(repository / "vlscore"), preserving_proto_field_name=True)
        model.initialize(
            {
                "model_config": json.dumps(config),
                "model_repository": str(repository / "vlscore"),
                "model_version": "1",
                "model_name": "vlscore",
            }
        )
        return model, server

    return serve


def words(*queries: str) -> np.ndarray:
    return np.array([query.encode() for query in queries], dtype=np.object_)


def encoded(name: str) -> np.ndarray:
    return np.array([(PICTURES / f"{name}.jpg").read_bytes()], dtype=np.object_)


def arrays(response: Any) -> dict[str, np.ndarray]:
    assert not response.has_error(), response.error().message()
    return {tensor.name(): tensor.as_numpy() for tensor in response.output_tensors()}


@pytest.mark.parametrize("preset", ["exact", "fast", "instant"])
def test_answers_are_the_localizers(tiny_bundle: Path, start: Start, preset: str) -> None:
    model, server = start(tiny_bundle, preset=preset)
    found = arrays(model.execute([ClientRequest(picture=encoded("cat"), queries=words(*QUERIES))])[0])
    wanted = Localizer(tiny_bundle, device="cpu", preset=preset)(PICTURES / "cat.jpg", QUERIES)
    for row, one in enumerate(wanted):
        np.testing.assert_allclose(found["boxes"][found["which"] == row], one.xyxy, atol=1e-3)
        np.testing.assert_allclose(found["scores"][found["which"] == row], one.scores, atol=1e-4)
        np.testing.assert_allclose(found["saliency"][row], one.map, atol=1e-4)
    assert found["present"].tolist() == [one.present for one in wanted]
    assert found["window"].tolist() == [0, 0, 451, 300]
    assert ("vlscore_instant" in server.runs) == (preset != "exact")
    for output in read_config(server.repository / "vlscore").output:
        assert found[output.name].ndim == len(output.dims)


def test_a_transformer_and_half_precision(tiny_vit_bundle: Path, tiny_fp16_bundle: Path, start: Start) -> None:
    for folder in (tiny_vit_bundle, tiny_fp16_bundle):
        model, _ = start(folder)
        found = arrays(model.execute([ClientRequest(pixels=photo("cat"), queries=words("a cat"))])[0])
        wanted = Localizer(folder, device="cpu")(photo("cat"), "a cat")
        np.testing.assert_allclose(found["saliency"][0], wanted.map, atol=1e-3)


def test_scenes_and_words_are_remembered(tiny_vit_bundle: Path, start: Start) -> None:
    model, server = start(tiny_vit_bundle)
    request = ClientRequest(picture=encoded("cat"), queries=words("a cat"))
    first = arrays(model.execute([request])[0])
    before = len(server.runs)
    again = arrays(model.execute([request])[0])
    assert server.runs[before:] == ["vlscore_saliency"]
    np.testing.assert_array_equal(first["boxes"], again["boxes"])
    model.execute([ClientRequest(pixels=photo("coffee"), queries=words("a cat"))])
    assert "vlscore_masked" in server.runs[before + 1 :]


def test_scenes_that_nobody_asks_for_are_forgotten(tiny_vit_bundle: Path, start: Start) -> None:
    model, _ = start(tiny_vit_bundle)
    scenes = model.scenes
    model.execute([ClientRequest(pixels=photo("cat"), queries=words("a cat"))])
    scenes.limit = int(scenes.size * 1.5)
    model.execute([ClientRequest(pixels=photo("cat")[:, ::-1], queries=words("a cat"))])
    assert len(scenes.kept) == 1
    scenes.limit = 0
    model.execute([ClientRequest(pixels=photo("cat"), queries=words("a cat"))])
    assert (len(scenes.kept), scenes.size) == (0, 0)


def test_one_bad_request_does_not_spoil_its_neighbours(tiny_vit_bundle: Path, start: Start) -> None:
    model, _ = start(tiny_vit_bundle)
    good = {"picture": encoded("cat"), "queries": words("a cat")}
    bad = (
        {**good, "picture": np.array([b"no picture"], dtype=np.object_)},
        {**good, "picture": np.array([b"a", b"b"], dtype=np.object_)},
        {**good, "pixels": photo("cat")},
        {"queries": words("a cat")},
        {**good, "queries": words("  ")},
        {**good, "queries": words()},
        {**good, "queries": np.array([b"\xff\xfe"], dtype=np.object_)},
    )
    found = model.execute([ClientRequest(**inputs) for one in bad for inputs in (one, good)])
    for response in found[::2]:
        assert response.error().code() == TritonError.INVALID_ARG
        assert not response.output_tensors()
    assert all(len(arrays(response)["present"]) == 1 for response in found[1::2])


def test_a_failing_model_is_an_error_that_names_it(tiny_vit_bundle: Path, start: Start) -> None:
    model, server = start(tiny_vit_bundle)
    request = ClientRequest(picture=encoded("cat"), queries=words("a cat"))
    server.broken.add("vlscore_masked")
    failed = model.execute([request])[0].error()
    assert failed.code() == TritonError.INTERNAL
    assert "`vlscore_masked` failed: out of memory" in failed.message()
    server.broken.clear()
    assert arrays(model.execute([request])[0])["present"].shape == (1,)


def test_the_front_needs_no_backend_of_ours() -> None:
    """In Triton's container there is neither PyTorch nor, for Python models, ONNX Runtime."""
    code = "import sys, runtime.triton; print([n for n in ('torch', 'onnx', 'onnxruntime', 'openvino') if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "[]", done.stderr
