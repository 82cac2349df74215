"""Templates: what is traced and what is filled are the same bytes, whatever the weights."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from export import assemble, method_templates, templates
from export.backbones import find_backbone
from export.catalogue import entries
from export.graphs import ImageGraph, Pixels
from export.onnx_files import ExportError, WeightsFile, export_graph, save_graph
from export.options import BuildOptions, versions
from export.recipes import Recipes
from export.vocabulary import clip_tokenizer, write_tokenizer
from export.vocabulary import write_templates as write_prompts
from export.weights import Loaded
from runtime.filling.bundle import words
from runtime.filling.catalogue import catalogue
from runtime.filling.fill import write_graphs
from runtime.filling.template import FOLDER, Template, open_methods, open_template, save, shipped, with_methods_shipped
from tests.conftest import ExportCache
from tests.filled import TINY, open_tiny, open_tiny_methods

SEED = 2  # the templates in `tests/templates` were found with another


@pytest.fixture(scope="module", params=TINY)
def traced(
    request: pytest.FixtureRequest, workshop: Path, tmp_path_factory: pytest.TempPathFactory, export_cache: ExportCache
) -> Any:
    """A tiny model traced with one seed: its name, its weights, the template found in the trace, the traced files."""
    folder = tmp_path_factory.mktemp("traced")
    backbone = find_backbone(str(workshop / f"{request.param}.json"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assemble, "export_graph", export_cache)
        made = templates.make(backbone, "quickgelu", BuildOptions(), SEED, folder)
    return request.param, templates.random_weights(backbone, "quickgelu", SEED), made, folder


def fill(template: Template, loaded: Loaded, folder: Path) -> Path:
    """Fill a template with a model's weights."""
    folder.mkdir()
    tensors = {name: tensor.numpy() for name, tensor in loaded.model.state_dict().items()}
    write_graphs(template, tensors, templates.look(loaded, template.manifest["image"]["side"]), folder, templates.run_named)
    return folder


def same_libraries(template: Template) -> bool:
    """Whether a kept template was traced by the libraries that are here: others may name values in another way."""
    return dict(template.manifest["built_with"]) == versions()


def test_a_template_found_with_other_weights_gives_the_traced_bytes(traced: Any, tmp_path: Path) -> None:
    name, loaded, made, folder = traced
    kept = open_tiny(name)
    template = kept if same_libraries(kept) else made
    filled = fill(template, loaded, tmp_path / "filled")
    assert sorted(path.name for path in filled.iterdir()) == sorted(path.name for path in folder.iterdir())
    assert [path.name for path in folder.iterdir() if path.read_bytes() != (filled / path.name).read_bytes()] == []


def test_the_recipes_do_not_hang_on_the_weights(traced: Any) -> None:
    name, _, made, _ = traced
    kept = open_tiny(name)
    recipes = {slot.recipe for graph in made.graphs for slot in graph.slots}
    if same_libraries(kept):
        assert save(made) == save(kept), "graphs have changed: `python -m export.templates` makes all templates again"
    assert recipes == {slot.recipe for graph in kept.graphs for slot in graph.slots}


def test_methods_found_with_other_weights_give_the_traced_bytes(traced: Any, tmp_path: Path) -> None:
    name, loaded, made, _ = traced
    kept, base = open_tiny_methods(name), method_templates.image_half(made)
    if not same_libraries(open_tiny(name)):
        pytest.skip("traced by other versions of the libraries; they may name values in another way")
    loaded = copy.deepcopy(loaded)
    if name == "tiny-vit":
        loaded.model.visual.half().float()  # as OpenAI's weights are
    method_templates.prove(loaded, base, kept)  # which compares every file


@pytest.mark.parametrize("traced", ["tiny-vit"], indirect=True)
def test_weights_published_in_half_precision_are_stored_in_half_as_a_build_does(traced: Any, tmp_path: Path) -> None:
    _, loaded, made, _ = traced
    loaded = copy.deepcopy(loaded)
    loaded.model.visual.half().float()
    parts, look = assemble.take_apart(loaded, BuildOptions()), loaded.preprocessing
    graph = ImageGraph(Pixels(look.mean, look.std), parts.encoder, torch.float32)
    picture = torch.zeros(1, parts.side, parts.side, 3, dtype=torch.uint8)
    model = export_graph(graph, {"pixels": picture}, ("maps", "embedding"))
    save_graph(model, tmp_path / "image.onnx", WeightsFile(tmp_path / "image.onnx.weights"))
    filled = fill(dataclasses.replace(made, graphs=made.graphs[:1]), loaded, tmp_path / "filled")
    halves = [tensor.name for tensor in model.graph.initializer if tensor.name.endswith(".half")]
    assert len(halves) > 10
    for name in ("image.onnx", "image.onnx.weights"):
        assert (filled / name).read_bytes() == (tmp_path / name).read_bytes()


def test_a_tensor_that_no_recipe_gives_is_refused() -> None:
    recipes = Recipes({"a": np.random.default_rng(0).random((300, 100), dtype=np.float32)}, [2])
    given = recipes.slot(onnx.numpy_helper.from_array(np.arange(12, dtype=np.float32), "small"))
    assert (given.recipe, given.given) == ("", np.arange(12, dtype=np.float32).tobytes())
    turned = recipes.slot(onnx.numpy_helper.from_array(recipes.tensors["a"].T.copy(), "turned"))
    assert turned.recipe == "a | swap"
    with pytest.raises(ExportError, match="no recipe gives `large`"):
        recipes.slot(onnx.numpy_helper.from_array(np.cumsum(recipes.tensors["a"], axis=0), "large"))


def test_every_template_of_the_catalogue_is_shipped_and_small() -> None:
    files = {path.name: path.stat().st_size for path in FOLDER.glob("*.template")}
    assert {entry.template for entry in catalogue()} <= set(shipped())
    assert sum(files.values()) < 3_000_000


def test_shipped_templates_are_of_the_same_making_as_the_kept_ones() -> None:
    kept = open_tiny("tiny-vit").manifest
    for name in shipped():
        manifest = open_template(name).manifest
        assert {key: manifest[key] for key in ("built_with", "opset", "slots", "schema", "masks", "text")} == {
            key: kept[key] for key in ("built_with", "opset", "slots", "schema", "masks", "text")
        }


def test_shipped_methods_go_with_the_template_of_their_backbone() -> None:
    for name in with_methods_shipped():
        added = open_methods(name)
        assert added is not None
        assert added.manifest["base"] == method_templates.stamp(open_template(name)), (
            f"`python -m export.method_templates {name}`"
        )
    assert {"ViT-B-16", "ViT-B-16-quickgelu", "ViT-B-32", "ViT-B-32-quickgelu", "RN50-quickgelu"} <= set(with_methods_shipped())


def test_a_shipped_template_filled_agrees_with_the_model_itself(tmp_path: Path) -> None:
    loaded = templates.random_weights(find_backbone("RN50-quickgelu"), "quickgelu", 7)
    filled = fill(open_template("RN50-quickgelu"), loaded, tmp_path / "RN50")
    picture = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    found = templates.run_named(filled / "image.onnx", {"pixels": picture})["embedding"]
    look = loaded.preprocessing
    with torch.no_grad():
        pixels = Pixels(look.mean, look.std)(torch.from_numpy(picture))
        wanted = loaded.model.encode_image(pixels, normalize=True)[0].numpy()
        tokens = torch.randint(1, 49000, (1, 77))
        text = loaded.model.encode_text(tokens, normalize=True)[0].numpy()
    assert np.abs(found - wanted).max() < 1e-5
    assert np.abs(templates.run_named(filled / "text.onnx", {"tokens": tokens.numpy()})["embeddings"][0] - text).max() < 1e-5


@pytest.mark.slow
def test_the_shipped_template_of_rn50_is_what_tracing_gives_today(tmp_path: Path) -> None:
    kept = open_template("RN50-quickgelu")
    if not same_libraries(kept):
        pytest.skip("traced by other versions of the libraries; they may name values in another way")
    assert save(templates.make(find_backbone("RN50-quickgelu"), "quickgelu", BuildOptions(), SEED, tmp_path)) == save(kept)


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_half_precision_has_templates_as_well(name: str, workshop: Path, tmp_path: Path) -> None:
    templates.write(str(workshop / f"{name}.json"), "quickgelu", "fp16", tmp_path, {})  # which proves it
    assert (tmp_path / f"{name}-quickgelu-fp16.template").is_file()


def test_the_words_of_a_filled_bundle_are_those_of_a_build(tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "tokenizer.json", clip_tokenizer())
    write_prompts(tmp_path / "templates.json")
    assert words() == {name: (tmp_path / name).read_bytes() for name in ("tokenizer.json", "templates.json")}


def test_the_catalogue_says_what_open_clip_says() -> None:
    assert [dataclasses.asdict(known) for known in catalogue()] == [
        {"archive_sha256": "", **line, "mean": tuple(line["mean"]), "std": tuple(line["std"])} for line in entries()
    ]
