"""From a model's name, or a file of weights, to an open model: `vlscore pull`, `vlscore models`, `Localizer(NAME)`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from runtime import Localizer
from runtime.cli.app import app
from runtime.errors import BundleError, WeightsError
from runtime.filling import catalogue, check, origin, place, template
from runtime.filling.bundle import OPENAI_MEAN, OPENAI_STD
from runtime.filling.hub import FORBID, Fetched
from runtime.filling.transformers_names import as_open_clip
from tests import configs, filled

LINE = {
    "name": "tiny-rn",
    "backbone": "tiny-rn",
    "tag": "openai",
    "template": "tiny-rn-quickgelu",
    "repository": "org/tiny-rn",
    "licence": "MIT",
    "mean": OPENAI_MEAN,
    "std": OPENAI_STD,
    "megabytes": 18,
}
OTHER = {**LINE, "name": "tiny-rn-other", "tag": "other", "repository": "org/other", "mean": [0.5] * 3, "std": [0.25] * 3}
VIT = {**LINE, "name": "tiny-vit", "backbone": "tiny-vit", "template": "tiny-vit-quickgelu", "repository": "org/tiny-vit"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of seeded weights: `tiny-rn.safetensors`, `tiny-vit.safetensors`."""
    from export.backbones import find_backbone
    from export.templates import random_weights

    folder = tmp_path_factory.mktemp("weights")
    for name, config in zip(filled.TINY, (configs.TINY_RN, configs.TINY_VIT), strict=True):
        backbone = find_backbone(str(configs.write_config(folder / f"{name}.json", config)))
        state = random_weights(backbone, "quickgelu", 5).model.state_dict()
        safetensors.torch.save_file({key: tensor.contiguous() for key, tensor in state.items()}, folder / f"{name}.safetensors")
    return folder


@pytest.fixture(autouse=True)
def _shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A catalogue of tiny models, their templates, and an empty home."""
    (tmp_path / "catalogue.json").write_text(json.dumps([LINE, OTHER, VIT]), encoding="utf-8")
    monkeypatch.setattr(catalogue, "FILE", tmp_path / "catalogue.json")
    monkeypatch.setattr(template, "FOLDER", filled.FOLDER)
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(FORBID, "1")
    catalogue.catalogue.cache_clear()
    yield
    catalogue.catalogue.cache_clear()


@pytest.fixture
def knowing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights that pass for trained ones."""
    monkeypatch.setattr(check, "ENOUGH_WORDS", 0)
    monkeypatch.setattr(check, "ENOUGH_COLOURS", 0)


@pytest.fixture
def hub(weights: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A hub that has the weights; gives the repositories that were asked for."""
    asked: list[str] = []

    def fetch(repository: str, licence: str, say: Any) -> Fetched:
        asked.append(repository)
        say(f"fetching {repository} (licence: {licence})")
        return Fetched(weights / "tiny-rn.safetensors", {})

    monkeypatch.setattr(origin, "fetch", fetch)
    return asked


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_file_becomes_a_bundle_that_answers(weights: Path, tmp_path: Path) -> None:
    result = run("pull", "tiny-rn", "--from", weights / "tiny-rn.safetensors", "--untrained")
    assert result.exit_code == 0, result.output
    assert 'ready: vlscore locate street.jpg "a red bus" --model tiny-rn' in result.output
    localizer = Localizer("tiny-rn", device="cpu")  # opening hashes every file
    assert localizer.bundle.folder == tmp_path / "home" / "tiny-rn"
    assert len(localizer.locate(localizer.encode(configs.photo("cat")), ["a cat", "a dog"])) == 2
    manifest = localizer.manifest
    assert (manifest.weights.tag, manifest.weights.source, manifest.weights.trained) == (
        "tiny-rn.safetensors",
        "local file",
        False,
    )
    assert manifest.built_with["filled_by"].startswith("vlscore ")
    assert set(manifest.parity["filled"]) == {"words", "colours"}  # type: ignore[call-overload]
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["tiny-rn"]


def test_weights_that_know_nothing_are_refused_and_leave_nothing(weights: Path, tmp_path: Path) -> None:
    result = run("pull", "tiny-rn", "--from", weights / "tiny-rn.safetensors")
    assert result.exit_code == 1
    assert "does not know what every trained CLIP knows: it knows" in result.output
    assert "--untrained" in result.output
    assert list((tmp_path / "home").iterdir()) == []


def test_another_architecture_is_recognised(weights: Path) -> None:
    result = run("pull", "tiny-rn", "--from", weights / "tiny-vit.safetensors")
    assert result.exit_code == 1
    assert "is not tiny-rn-quickgelu: this looks like a tiny-vit-quickgelu" in result.output


def test_a_precision_without_a_template_is_built_with_pytorch(weights: Path) -> None:
    result = run("pull", "tiny-rn", "--from", weights / "tiny-rn.safetensors", "--precision", "fp16")
    assert result.exit_code == 1
    assert "there is no template of tiny-rn-quickgelu in fp16, only of none; build it with PyTorch" in result.output


def test_what_no_template_knows_is_described(tmp_path: Path) -> None:
    shapes = {
        "visual.conv1.weight": (96, 3, 8, 8),
        "visual.class_embedding": (96,),
        "visual.positional_embedding": (50, 96),
        "visual.transformer.resblocks.0.ln_1.weight": (96,),
        "token_embedding.weight": (100, 48),
        "transformer.resblocks.0.ln_1.weight": (48,),
    }
    safetensors.torch.save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, tmp_path / "w.safetensors")
    result = run("pull", "tiny-rn", "--from", tmp_path / "w.safetensors")
    assert "a vision transformer of 1 blocks of width 96, patches of 8, pictures of 56 px" in result.output
    assert "with a text tower of 1 blocks of width 48" in result.output


def in_transformers_form(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A state dict of open_clip's ViT as the `transformers` library keeps it."""
    plain = {
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "logit_scale": "logit_scale",
    }
    inside = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn": "self_attn", "c_fc": "fc1", "c_proj": "fc2"}
    outside = {"visual.ln_pre": "vision_model.pre_layrnorm", "visual.ln_post": "vision_model.post_layernorm"}
    found = {}
    for name, tensor in state.items():
        if name in plain:
            found[plain[name]] = tensor
        elif name in ("visual.proj", "text_projection"):
            found["visual_projection.weight" if name == "visual.proj" else "text_projection.weight"] = tensor.T
        elif "resblocks" in name:
            tower = "vision_model" if name.startswith("visual.") else "text_model"
            number, _, rest = name.partition("resblocks.")[2].partition(".")
            theirs = f"{tower}.encoder.layers.{number}." + ".".join(inside.get(part, part) for part in rest.split("."))
            if "in_proj_" not in theirs:
                found[theirs] = tensor
                continue
            for part, third in zip("qkv", tensor.chunk(3), strict=True):
                found[theirs.replace("in_proj_", f"{part}_proj.")] = third
        else:
            layer, _, last = name.rpartition(".")
            found[f"{outside.get(layer, 'text_model.final_layer_norm')}.{last}"] = tensor
    found["text_model.embeddings.position_ids"] = torch.arange(4)  # older files hold these
    return {name: tensor.contiguous() for name, tensor in found.items()}


def test_files_of_the_transformers_library_give_the_same_bundle(weights: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "some-clip" / "model.safetensors"
    theirs.parent.mkdir()
    safetensors.torch.save_file(in_transformers_form(safetensors.torch.load_file(weights / "tiny-vit.safetensors")), theirs)
    config = {"model_type": "clip", "text_config": {}, "vision_config": {"hidden_act": "quick_gelu"}}
    (theirs.parent / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (theirs.parent / "preprocessor_config.json").write_text('{"image_mean": [0.1, 0.2, 0.3], "image_std": [0.3, 0.2, 0.1]}')
    line = {**LINE, "name": "tiny-vit", "backbone": "tiny-vit", "template": "tiny-vit-quickgelu"}
    catalogue.FILE.write_text(json.dumps([line]), encoding="utf-8")
    made = run("pull", "tiny-vit", "--from", weights / "tiny-vit.safetensors", "--activation", "quickgelu", "--untrained")
    assert made.exit_code == 0, made.output
    result = run("pull", "tiny-vit", "--from", theirs.parent, "--untrained")
    assert result.exit_code == 0, result.output
    ours, theirs = tmp_path / "home" / "tiny-vit", tmp_path / "home" / "tiny-vit-some-clip"
    files = {file.name for file in ours.glob("*.weights")}
    assert files == {file.name for file in theirs.glob("*.weights")} != set()
    assert all((theirs / name).read_bytes() == (ours / name).read_bytes() for name in files)
    assert Localizer(theirs, device="cpu").manifest.image.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"model_type": "siglip"}, {}),
        ({"model_type": "clip"}, {"model_cfg": {"quick_gelu": True}}),
        ({"model_type": "clip", "text_config": None, "vision_config": None}, {"model_cfg": {"quick_gelu": True}}),
        (
            {"model_type": "clip", "text_config": {"hidden_act": "gelu"}, "vision_config": {"hidden_act": "gelu"}},
            {"model_cfg": {"quick_gelu": False}},
        ),
    ],
)
def test_the_activation_stands_in_the_configuration_of_transformers(config: dict[str, Any], told: dict[str, Any]) -> None:
    assert as_open_clip(config, {}, "org/x") == told


def test_activations_without_a_template_are_refused() -> None:
    with pytest.raises(WeightsError, match="asks for gelu_new and quick_gelu: no template"):
        as_open_clip({"model_type": "clip", "text_config": {"hidden_act": "gelu_new"}}, {}, "org/x")


def test_weights_in_the_place_of_a_model_are_told_the_way(weights: Path) -> None:
    for asked in (str(weights / "tiny-vit.safetensors"), "hf:org/some-clip"):
        with pytest.raises(BundleError, match=re.escape(f"`vlscore pull MODEL --from {asked}`")):
            Localizer(asked)


def test_other_names_are_named(tmp_path: Path) -> None:
    safetensors.torch.save_file({"encoder.weight": torch.zeros(4)}, tmp_path / "any.safetensors")
    assert "does not fit tiny-rn-quickgelu: it lacks `" in run("pull", "tiny-rn", "--from", tmp_path / "any.safetensors").output


@pytest.mark.usefixtures("knowing")
def test_a_name_is_fetched_once_and_said(hub: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    localizer = Localizer("tiny-rn", device="cpu")
    assert localizer.manifest.weights.source == "org/tiny-rn"
    assert localizer.manifest.weights.licence == "MIT"
    assert localizer.manifest.weights.trained
    assert "vlscore: fetching org/tiny-rn (licence: MIT)" in capsys.readouterr().err
    Localizer("tiny-rn", device="cpu", download=False)
    assert "is there already" in run("pull", "tiny-rn").output
    assert hub == ["org/tiny-rn"]


@pytest.mark.usefixtures("knowing")
def test_weights_bring_how_they_want_their_pictures(hub: list[str]) -> None:
    assert run("pull", "tiny-rn-other").exit_code == 0
    image = Localizer("tiny-rn-other", device="cpu").manifest.image
    assert (image.mean, image.std) == ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    assert run("pull", "tiny-rn", "--from", "hf:org/other", "--force").exit_code == 0
    assert hub == ["org/other", "org/other"]


def test_fetching_can_be_forbidden(hub: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BundleError, match=r"`download=False` forbids fetching it; make it with `vlscore pull tiny-rn`"):
        Localizer("tiny-rn", download=False)
    monkeypatch.setenv(FORBID, "0")
    with pytest.raises(BundleError, match=r"VLSCORE_DOWNLOAD=0 forbids .*org/tiny-rn, about 18 MB, licence: MIT"):
        Localizer("tiny-rn")
    assert hub == []


def test_a_name_that_is_nowhere(hub: list[str]) -> None:
    with pytest.raises(BundleError, match="no bundle named `nope`"):
        Localizer("nope")
    assert "did you mean tiny-rn" in run("pull", "tiny-m").output
    assert hub == []


def test_models_lists_what_there_is(weights: Path) -> None:
    run("pull", "tiny-rn", "--from", weights / "tiny-rn.safetensors", "--untrained")
    result = run("models")
    assert result.exit_code == 0, result.output
    assert "tiny-rn-other" in result.output
    assert "demo-rn" in result.output
    listed = json.loads(run("models", "--json").output)
    assert [(entry["name"], entry["here"]) for entry in listed] == [
        ("tiny-rn", True),
        ("tiny-rn-other", False),
        ("tiny-vit", False),
    ]


def test_a_folder_needs_one_file_of_weights(weights: Path, tmp_path: Path) -> None:
    folder = tmp_path / "download"
    folder.mkdir()
    assert "must hold one file of weights, found none" in run("pull", "tiny-rn", "--from", folder).output
    shutil.copy(weights / "tiny-rn.safetensors", folder / "open_clip_model.safetensors")
    config = {"model_cfg": {"quick_gelu": True}, "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.3, 0.2, 0.1]}}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    result = run("pull", "tiny-rn", "--from", folder, "--untrained", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert Localizer(tmp_path / "out", device="cpu").manifest.image.mean == (0.1, 0.2, 0.3)


def test_a_full_disk_is_told_before_anything_is_written(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place.shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    result = run("pull", "tiny-rn", "--from", weights / "tiny-rn.safetensors")
    assert "has 1 MB free, and the bundle may take 1" in result.output
    assert not (tmp_path / "home").exists()


def some_file(name: str = "w.pt", *, scripted: bool = False) -> Any:
    return SimpleNamespace(path=Path(name), scripted=scripted)


QUICK = catalogue.Entry(**{**LINE, "mean": OPENAI_MEAN, "std": OPENAI_STD})
PLAIN = catalogue.Entry(**{**LINE, "template": "tiny-rn", "mean": OPENAI_MEAN, "std": OPENAI_STD})


@pytest.mark.parametrize(
    ("asked", "named", "config", "scripted", "activation", "found"),
    [
        ("B", None, {}, False, "gelu", "B"),
        ("B", None, {}, False, "quickgelu", "B-quickgelu"),
        ("B-quickgelu", None, {}, False, None, "B-quickgelu"),
        ("B", None, {}, True, None, "B-quickgelu"),
        ("B", QUICK, {}, False, None, "B-quickgelu"),
        ("B", PLAIN, {}, False, "gelu", "B"),
        ("B", None, {"model_cfg": {"quick_gelu": False}}, False, None, "B"),
        ("B", None, {}, False, None, "does not say which activation"),
        ("B", None, {}, True, "gelu", "was trained with quickgelu, and gelu was asked for"),
        ("B", PLAIN, {}, False, "quickgelu", "was trained with gelu, and quickgelu was asked for"),
    ],
)
def test_the_activation_is_told_or_asked_for_and_never_guessed(
    monkeypatch: pytest.MonkeyPatch, asked: str, named: Any, config: Any, scripted: bool, activation: Any, found: str
) -> None:
    monkeypatch.setattr(origin, "shipped", lambda: ["B", "B-quickgelu"])
    if " " in found:
        with pytest.raises(WeightsError, match=found):
            origin.choose(asked, "B", named, config, some_file(scripted=scripted), activation)
    else:
        assert origin.choose(asked, "B", named, config, some_file(scripted=scripted), activation) == found


def test_one_template_is_no_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "shipped", lambda: ["B-quickgelu"])
    assert origin.choose("B", "B", None, {}, some_file(), None) == "B-quickgelu"
    with pytest.raises(WeightsError, match="no template of B with gelu"):
        origin.choose("B", "B", None, {}, some_file(), "gelu")


def test_the_archive_that_openai_published_is_known_by_its_hash(weights: Path, tmp_path: Path) -> None:
    file = weights / "tiny-rn.safetensors"
    lines = [{**LINE, "archive_sha256": origin.sha256_of(file)}]
    (tmp_path / "catalogue.json").write_text(json.dumps(lines), encoding="utf-8")
    catalogue.catalogue.cache_clear()
    found = origin.weights_of("tiny-rn", origin.Origin(file, "local file", None, {}), None)
    assert (found.tag, found.licence) == ("openai", "MIT")


def write(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text, encoding="utf-8")


def test_a_bundle_takes_its_place_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "home" / "RN50"
    for text in ("first", "second"):
        with place.new_folder(target) as folder:
            write(folder, text)
        assert (target / "manifest.json").read_text(encoding="utf-8") == text
    with pytest.raises(FileNotFoundError), place.new_folder(target) as folder:
        write(folder / "nowhere", "third")
    assert (target / "manifest.json").read_text(encoding="utf-8") == "second"
    assert [path.name for path in target.parent.iterdir()] == ["RN50"]


def test_two_at_once_leave_one_whole_bundle(tmp_path: Path) -> None:
    target = tmp_path / "RN50"
    with place.new_folder(target) as first:
        write(first, "first")
        with place.new_folder(target) as second:
            assert first != second
            write(second, "second")
    assert (target / "manifest.json").read_text(encoding="utf-8") == "first"
    assert [path.name for path in tmp_path.iterdir() if "RN50" in path.name] == ["RN50"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".RN50.999999999.abc.filling"
    left.mkdir()
    with place.new_folder(tmp_path / "RN50") as folder:
        write(folder, "new")
    assert not left.exists()


def test_a_folder_that_is_no_bundle_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(BundleError, match="exists and is not a bundle"), place.new_folder(tmp_path / "photos"):
        pass
    assert (tmp_path / "photos" / "a.jpg").exists()
