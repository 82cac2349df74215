"""Labels ranked by one model, found by the same or another one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from runtime import ArgumentError, Localizer, Query, QueryError, Scene, SceneError
from runtime.cli.app import app
from tests import configs, oracle
from tests.conftest import load_tiny

LABELS = ["a cat", "a rocket", Query(("a cup of coffee", "an espresso"), ("a photo of {}.", "{}")), "an astronaut"]


def test_probabilities_are_clip_s(tiny_localizer: Localizer, workshop: Path) -> None:
    import open_clip

    model = load_tiny(workshop, "tiny-rn").model
    x = oracle.to_tensor(oracle.preprocess(configs.photo("cat"), 96, "squash"), oracle.MEAN, oracle.STD, torch.float32)
    prompts = [["a cat"], ["a rocket"], [], ["an astronaut"]]
    prompts[2] = [template.format(word) for word in ("a cup of coffee", "an espresso") for template in ("a photo of {}.", "{}")]
    with torch.no_grad():
        image = torch.nn.functional.normalize(model.encode_image(x[None])[0], dim=0)
        rows = [torch.nn.functional.normalize(model.encode_text(open_clip.tokenize(each)), dim=1).mean(0) for each in prompts]
        texts = torch.nn.functional.normalize(torch.stack(rows), dim=1)
        wanted = torch.softmax(model.logit_scale.exp() * texts @ image, dim=0).numpy()
    found = tiny_localizer.classify(configs.photo("cat"), LABELS, 4)
    assert [label.label for label in found] == [
        ["a cat", "a rocket", "a cup of coffee", "an astronaut"][at] for at in np.argsort(-wanted)
    ]
    np.testing.assert_allclose([label.probability for label in found], np.sort(wanted)[::-1], atol=1e-4)


def test_scenes_are_classified_without_a_pass(tiny_localizer: Localizer, cat_scene: Scene) -> None:
    of_picture, of_scene = (tiny_localizer.classify(seen, LABELS, 2) for seen in (configs.photo("cat"), cat_scene))
    assert [label.label for label in of_picture] == [label.label for label in of_scene]
    assert len(of_scene) == 2
    assert len(tiny_localizer.classify(cat_scene, LABELS)) == 4  # fewer labels than the five that are asked for


def test_class_by_one_model_and_boxes_by_another(
    tiny_localizer: Localizer, tiny_vit_localizer: Localizer, cat_scene: Scene
) -> None:
    best = tiny_localizer.detect(cat_scene, LABELS, 2, classifier=tiny_vit_localizer)
    ranking = tiny_vit_localizer.classify(configs.photo("cat"), LABELS, 2)
    assert [(label.label, label.probability) for label in best] == [(label.label, label.probability) for label in ranking]
    for label in best:
        assert label.found is not None
        query = next(each for each in LABELS if label.label in (each if isinstance(each, str) else each.label))
        np.testing.assert_array_equal(label.found.map, tiny_localizer.locate(cat_scene, query).map)
    alone = tiny_vit_localizer.detect(configs.photo("cat"), LABELS)
    assert [label.label for label in alone] == [ranking[0].label]


def test_refusals(tiny_localizer: Localizer, tiny_vit_localizer: Localizer, cat_scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match="nothing to compete with"):
        tiny_localizer.classify(cat_scene, ["a cat"])
    with pytest.raises(QueryError, match="in the list twice"):
        tiny_localizer.classify(cat_scene, ["a cat", "a dog", "a cat"])
    for wrong in (0, True, "5"):
        with pytest.raises(ArgumentError, match="`top_k` must be"):
            tiny_localizer.classify(cat_scene, ["a cat", "a dog"], wrong)  # type: ignore[arg-type]
    with pytest.raises(SceneError, match="made by another model"):
        tiny_vit_localizer.classify(cat_scene, ["a cat", "a dog"])
    with pytest.raises(ArgumentError, match="must be a Localizer"):
        tiny_localizer.detect(cat_scene, ["a cat", "a dog"], classifier="RN50")  # type: ignore[arg-type]
    bare = Scene.load(cat_scene.save(tmp_path / "bare.scene.npz", picture=False))
    with pytest.raises(SceneError, match="saved without its picture"):
        tiny_localizer.detect(bare, ["a cat", "a dog"], classifier=tiny_vit_localizer)


def test_command(tiny_vit_bundle: Path, tmp_path: Path) -> None:
    picture, labels = str(configs.PICTURES / "cat.jpg"), tmp_path / "labels.txt"
    labels.write_text("a cat, a kitten\n\na rocket\nan astronaut\n", encoding="utf-8")
    vit = ["--model", str(tiny_vit_bundle), "--device", "cpu"]

    def run(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, ["classify", *arguments])
        return done.exit_code, done.output

    code, told = run(picture, "--labels", str(labels), "--json", "--top-k", "2", "--boxes-by", str(tiny_vit_bundle), *vit)
    assert code == 0, told
    entry = json.loads(told.splitlines()[-1])
    assert entry["picture"] == picture
    assert len(entry["labels"]) == 2
    assert {label["found"]["query"] for label in entry["labels"]} <= {"a cat", "a rocket", "an astronaut"}
    code, told = run(picture, "a cat", "a rocket", *vit)
    assert (code, "probability" in told) == (0, True)
    code, told = run(picture, str(tmp_path / "none.jpg"), "a cat", "a rocket", *vit)
    assert code == 1  # the other picture was answered
    assert "a rocket" in told
    code, told = run(picture, "--labels", str(tmp_path / "none.txt"), *vit)
    assert (code, "cannot be read" in told) == (1, True)
