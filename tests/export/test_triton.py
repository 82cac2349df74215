"""Model repositories: configurations that Triton's own schema reads, graphs that load from where they lie."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
from typer.testing import CliRunner

from engine.manifest import TEXT_HALF
from export import build
from export.triton import Serving, app, write_repository
from export.triton_config import TYPES, TritonError
from runtime.bundles import Bundle, open_bundle
from runtime.errors import BundleError
from tests.export.triton_made import read_config


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return open_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def repository(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("triton") / "models"
    write_repository(bundle, target, Serving())
    return target


def test_every_graph_and_the_front_are_models(repository: Path) -> None:
    names = {"vlscore", *(f"vlscore_{graph}" for graph in ("image", "masked", "instant", *TEXT_HALF))}
    assert {path.name for path in repository.iterdir()} == names
    assert [path.name for path in repository.parent.iterdir()] == ["models"]
    assert {path.name for path in (repository / "vlscore" / "1").iterdir()} == {
        "model.py",
        "manifest.json",
        "tokenizer.json",
        "templates.json",
    }


def test_configurations_say_what_the_manifest_says(bundle: Bundle, repository: Path) -> None:
    for graph, info in bundle.manifest.graphs.items():
        config = read_config(repository / f"vlscore_{graph}")
        assert (config.name, config.backend, config.max_batch_size) == (f"vlscore_{graph}", "onnxruntime", 0)
        for told, known in ((config.input, info.inputs), (config.output, info.outputs)):
            found = {one.name: (model_config_pb2.DataType.Name(one.data_type), tuple(one.dims)) for one in told}
            assert found == {name: (TYPES[dtype], shape or (1,)) for name, (dtype, shape) in known.items()}
        assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
        warm = config.model_warmup[0]
        assert warm.batch_size == 1
        assert {name: tuple(one.dims) for name, one in warm.inputs.items()} == {
            name: shape or (1,) for name, (_, shape) in info.inputs.items()
        }
    front = read_config(repository / "vlscore")
    assert front.backend == "python"
    assert [one.name for one in front.input if one.optional] == ["picture", "pixels"]
    assert not front.model_warmup, "other models may not be there yet when it loads"


def test_a_field_that_triton_does_not_know_is_refused() -> None:
    with pytest.raises(text_format.ParseError):
        text_format.Parse('name: "x" bakend: "python"', model_config_pb2.ModelConfig())


def test_graphs_load_from_their_place_and_give_the_bundles_numbers(bundle: Bundle, repository: Path) -> None:
    noise = np.random.default_rng(0)
    for graph, info in bundle.manifest.graphs.items():
        feed = {
            name: np.asarray(noise.random(shape) * (100 if dtype == "uint8" else 1)).astype(dtype)
            for name, (dtype, shape) in info.inputs.items()
        }
        places = (repository / f"vlscore_{graph}" / "1" / "model.onnx", bundle.graph(graph))
        theirs, ours = (onnxruntime.InferenceSession(str(place)).run(None, feed) for place in places)
        for one, other in zip(theirs, ours, strict=True):
            np.testing.assert_array_equal(one, other)


def test_weights_are_stored_once_and_the_bundle_stays_readable_to_other_tools(bundle: Bundle, repository: Path) -> None:
    for weights, graphs in (("image.onnx.weights", ("image", "masked", "instant")), ("text.onnx.weights", TEXT_HALF)):
        ours = bundle.file(weights)
        theirs = [repository / f"vlscore_{graph}" / "1" / weights for graph in graphs if graph != "saliency"]
        assert len({path.stat().st_ino for path in theirs}) == 1
        assert theirs[0].read_bytes() == ours.read_bytes()
        assert not any(path.is_symlink() for path in theirs), "ONNX Runtime refuses weights that lead out of the folder"
        assert ours.stat().st_nlink == 1, "onnx refuses weights with a second link"
    onnx.load(bundle.graph("masked"))


def test_where_there_are_no_hard_links_weights_are_copied(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: object) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", no_links)
    write_repository(bundle, tmp_path / "models", Serving())
    copies = [tmp_path / "models" / f"vlscore_{graph}" / "1" / "image.onnx.weights" for graph in ("image", "masked")]
    assert copies[0].stat().st_ino != copies[1].stat().st_ino
    assert copies[0].read_bytes() == copies[1].read_bytes()


def test_on_the_gpu_single_precision_stays_single(bundle: Bundle, tmp_path: Path) -> None:
    write_repository(bundle, tmp_path / "models", Serving(kind="gpu"))
    config = read_config(tmp_path / "models" / "vlscore_masked")
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    cuda = config.optimization.execution_accelerators.gpu_execution_accelerator[0]
    assert (cuda.name, cuda.parameters["use_tf32"]) == ("cuda", "0")


def test_half_precision_goes_to_the_gpu_by_itself(tiny_fp16_bundle: Path, tmp_path: Path) -> None:
    write_repository(open_bundle(tiny_fp16_bundle), tmp_path / "models", Serving())
    config = read_config(tmp_path / "models" / "vlscore_masked")
    assert config.optimization.execution_accelerators.gpu_execution_accelerator[0].name == "cuda"


def test_plans_are_placed_by_compute_capability(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "h100.plan").write_bytes(b"an engine")
    write_repository(bundle, tmp_path / "models", Serving(plans=(("9.0", tmp_path / "h100.plan"), ("8.9", None))))
    folder = tmp_path / "models" / "vlscore_masked"
    config = read_config(folder)
    assert config.backend == "tensorrt"
    assert dict(config.cc_model_filenames) == {"9.0": "model_sm90.plan", "8.9": "model_sm89.plan"}
    assert [path.name for path in (folder / "1").iterdir()] == ["model_sm90.plan"]
    assert not config.optimization.HasField("execution_accelerators")
    assert read_config(tmp_path / "models" / "vlscore_image").backend == "onnxruntime"


def test_writing_again_replaces_and_leaves_others_alone(bundle: Bundle, repository: Path, tmp_path: Path) -> None:
    target = Path(shutil.copytree(repository, tmp_path / "models"))
    (target / "somebody").mkdir()
    (target / "vlscore" / "1" / "stale").touch()
    write_repository(bundle, target, Serving())
    assert not (target / "vlscore" / "1" / "stale").exists()
    assert (target / "somebody").is_dir()
    (target / "vlscore" / "config.pbtxt").write_text('name: "vlscore"')
    with pytest.raises(TritonError, match="not written here"):
        write_repository(bundle, target, Serving())


def test_what_cannot_be_served_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    graphs = {name: graph for name, graph in bundle.manifest.graphs.items() if name != "instant"}
    older = replace(bundle, manifest=replace(bundle.manifest, graphs=graphs))
    with pytest.raises(TritonError, match="NVIDIA cards alone"):
        write_repository(bundle, tmp_path / "a", Serving(kind="cpu", plans=(("9.0", None),)))
    with pytest.raises(TritonError, match="does not exist"):
        write_repository(bundle, tmp_path / "a", Serving(plans=(("9.0", tmp_path / "no.plan"),)))
    with pytest.raises(BundleError, match="before `instant` existed"):
        write_repository(older, tmp_path / "a", Serving(preset="instant"))
    assert not (tmp_path / "a").exists()


def test_the_command(tiny_vit_bundle: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, [str(tiny_vit_bundle), str(tmp_path / "models"), "--plan", "9.0"])
    assert found.exit_code == 0, found.output
    assert "vlscore_masked/1/model_sm90.plan" in found.output.replace("\n", "")
    found = CliRunner().invoke(app, [str(tiny_vit_bundle), str(tmp_path / "models"), "--plan", "hopper"])
    assert found.exit_code == 1
    assert "compute capability" in found.output
    found = CliRunner().invoke(app, [str(tmp_path / "none"), str(tmp_path / "models")])
    assert found.exit_code == 1


def test_a_build_can_write_one_at_once(tiny_vit_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "run", lambda *_: tiny_vit_bundle)
    found = CliRunner().invoke(build.app, ["--backbone", "RN50", "--triton", str(tmp_path / "models")])
    assert found.exit_code == 0, found.output
    assert read_config(tmp_path / "models" / "vlscore_masked").backend == "onnxruntime"
