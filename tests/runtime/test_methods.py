"""Methods other than the default behind the front door: added to a bundle, encoded, asked, saved, refused."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.boxes import find_boxes
from engine.manifest import fingerprint
from engine.methods import find_method
from engine.windows import places, together, windowed_hw
from runtime import ArgumentError, BundleError, Localizer, Query, QueryError, Scene, SceneError
from runtime.bundles import open_bundle, read_manifest
from runtime.cli.checks import changed, named_default
from tests import configs, oracle_dense
from tests.conftest import load_tiny, with_methods


@pytest.fixture(scope="module")
def bundle(tiny_vit_bundle: Path, workshop: Path) -> Path:
    """The tiny transformer with methods added: a dense one, one whose words go into a graph, and the refinement."""
    return with_methods(tiny_vit_bundle, workshop / "tiny-vit-methods", "naclip,clip-es,affinity,textspan")


@pytest.fixture(scope="module")
def localizer(bundle: Path) -> Localizer:
    return Localizer(bundle, method="naclip", device="cpu", threads=2)


@pytest.fixture(scope="module")
def scene(localizer: Localizer) -> Scene:
    return localizer.encode(configs.photo("cat"))


def test_adding_changes_no_other_file(bundle: Path, tiny_vit_bundle: Path) -> None:
    before, after = read_manifest(tiny_vit_bundle), read_manifest(bundle)
    assert {name: after.files[name] for name in before.files} == before.files
    assert fingerprint(after) == fingerprint(before)
    assert set(after.methods) == {"naclip", "clip-es", "affinity", "textspan"}
    own = sum(after.files[name].bytes for name in after.files if name not in before.files)
    assert own < 0.2 * before.files["image.onnx.weights"].bytes  # the graphs point into the weights that were there
    open_bundle(bundle)


def test_features_are_the_oracle_s(bundle: Path, scene: Scene, workshop: Path) -> None:
    loaded = load_tiny(workshop, "tiny-vit")
    visual, prepared = loaded.model.visual.double(), loaded.preprocessing
    pixels, _ = Localizer(bundle, device="cpu").encoder.place(configs.photo("cat"))
    mean, std = (torch.tensor(each, dtype=torch.float64).view(3, 1, 1) for each in (prepared.mean, prepared.std))
    picture = (torch.from_numpy(pixels).permute(2, 0, 1).double() / 255 - mean) / std
    with torch.no_grad():
        wanted = oracle_dense.naclip(oracle_dense.of_tower(visual), visual._embeds(picture[None])[0]).numpy()
    features = scene.evidence["naclip"].arrays["features"].reshape(wanted.shape)
    np.testing.assert_allclose(features.astype(np.float64), wanted, rtol=0, atol=5e-4)  # kept in half precision


def test_scene_is_asked_saved_and_asked_again(localizer: Localizer, scene: Scene, tmp_path: Path) -> None:
    first = localizer.locate(scene, ["a cat", "a rocket"])
    again = localizer.locate(Scene.load(scene.save(tmp_path / "cat.scene.npz")), ["a cat", "a rocket"])
    assert scene.methods == ("naclip",)
    for one, other in zip(first, again, strict=True):
        assert one.method == "naclip"
        np.testing.assert_array_equal(one.xyxy, other.xyxy)
        np.testing.assert_allclose(one.map, other.map, atol=2e-2)  # its picture was JPEG in between
    assert json.dumps(first[0].to_dict())
    assert localizer("tests/../export/pictures/cat.jpg", "a cat").method == "naclip"


def test_competing_questions_share_every_patch(localizer: Localizer, scene: Scene) -> None:
    assert localizer.opened.dense is not None
    answerer = localizer.opened.dense.answerer
    queries = [Query((f"a {noun}",)) for noun in answerer.rivals.nouns[:4]]
    words = answerer.words(queries, localizer.text.embed(queries))
    assert len(words.others) == len(answerer.rivals.nouns) - 4  # no word competes with itself
    maps = answerer.maps(scene.evidence["naclip"], scene, words)
    assert maps.shape == (4, 4, 4)
    assert maps.sum(axis=0).max() <= 1 + 1e-6


def test_words_in_a_graph(bundle: Path, tmp_path: Path) -> None:
    localizer = Localizer(bundle, method="clip-es", device="cpu", threads=2, background=[])
    scene = Scene.load(localizer.encode(configs.photo("cat")).save(tmp_path / "cat.scene.npz"))
    assert scene.evidence["clip-es"].arrays["stream"].shape == (17, 64)
    many = localizer.locate(scene, [f"thing {number}" for number in range(11)])  # more than one run of the graph
    assert len(many) == 11
    assert len({found.map.tobytes() for found in many}) > 8  # a model of random numbers sees nothing of some
    with pytest.raises(QueryError, match="ask for several things at once"):
        localizer.locate(scene, "a cat")


@pytest.mark.parametrize("method", ["naclip", "vl-score"])
def test_affinity_spreads_any_map(bundle: Path, tmp_path: Path, method: str) -> None:
    tied = Localizer(bundle, method=method, device="cpu", threads=2, affinity=True)
    plain = Localizer(bundle, method=method, device="cpu", threads=2)
    scene = Scene.load(tied.encode(configs.photo("cat")).save(tmp_path / "cat.scene.npz"))
    assert method in scene.methods
    assert scene.affinity is not None
    assert scene.affinity.shape == (16, 16)
    assert not np.array_equal(tied.locate(scene, "a cat").map, plain.locate(scene, "a cat").map)
    with pytest.raises(SceneError, match="`affinity=True`"):
        tied.locate(plain.encode(configs.photo("cat")), "a cat")
    with pytest.raises(ArgumentError, match=r"`watch` sp"):
        tied.watch(configs.photo("cat"), "a cat")


def test_two_methods_multiplied(bundle: Path) -> None:
    fused = Localizer(bundle, method="vl-score-textspan", device="cpu")
    seen = fused.encode(configs.photo("cat"))
    assert seen.methods == ("vl-score", "score-cam", "textspan", "vl-score-textspan")
    both = fused.locate(seen, "a cat")
    one, other = (
        Localizer(bundle, method=name, device="cpu", spec=fused.spec).locate(seen, "a cat") for name in ("vl-score", "textspan")
    )
    product = np.sqrt(one.map * other.map)
    np.testing.assert_allclose(both.map, (product - product.min()) / (product.max() - product.min()), atol=1e-6)
    assert (both.method, both.present, both.margin) == ("vl-score-textspan", one.present, one.margin)
    assert both.passes == one.passes + 1
    np.testing.assert_array_equal(find_boxes(both.saliency, fused.spec).xyxy, both.xyxy)
    masked = Localizer(bundle, device="cpu").encode(configs.photo("cat"))
    with pytest.raises(SceneError, match="asks by `textspan`"):
        fused.locate(masked, "a cat")
    with pytest.raises(SceneError, match="asks by `vl-score`"):
        fused.locate(Localizer(bundle, method="textspan", device="cpu").encode(configs.photo("cat")), "a cat")
    with pytest.raises(ArgumentError, match="has none then"):
        fused.watch(configs.photo("cat"), "a cat")


def test_a_threshold_that_is_given_is_taken_notice_of() -> None:
    own = named_default("default", "naclip")
    assert (own.cut, changed(own, {"threshold": 0.5}, ()).cut) == ("otsu", "peak")
    assert changed(own, {"threshold": None}, ()) == own


def test_windows_are_averaged_cell_by_cell() -> None:
    assert windowed_hw((300, 400), 96, 16) == (96, 128)
    corners = places((96, 128), 64, 16)
    assert corners == [(0, 0), (0, 32), (0, 64), (32, 0), (32, 32), (32, 64)]
    whole = np.random.default_rng(0).random((1, 6, 8, 3)).astype(np.float32)
    parts = [whole[:, top // 16 : top // 16 + 4, left // 16 : left // 16 + 4] for top, left in corners]
    np.testing.assert_allclose(together(parts, corners, (96, 128), 16), whole, rtol=1e-6)


def test_windows_look_at_large_pictures(bundle: Path) -> None:
    localizer = Localizer(bundle, method="naclip", device="cpu", windows=96, background=[])
    scene = localizer.encode(configs.photo("cat"))
    height, width = scene.evidence["naclip"].arrays["features"].shape[1:3]
    assert min(height, width) == 6
    found = localizer.locate(scene, "a cat")
    assert found.saliency.shape == configs.photo("cat").shape[:2]
    with pytest.raises(ArgumentError, match="give 64 or more"):
        Localizer(bundle, method="naclip", device="cpu", windows=32)


def test_refusals(bundle: Path, tiny_bundle: Path, localizer: Localizer, scene: Scene) -> None:
    with pytest.raises(ArgumentError, match="did you mean `naclip`"):
        Localizer(bundle, method="naklip", device="cpu")
    with pytest.raises(BundleError, match=r"python -m export\.methods .* --methods sclip"):
        Localizer(bundle, method="sclip", device="cpu")
    with pytest.raises(ArgumentError, match="vision transformers alone"):
        Localizer(tiny_bundle, method="gem", device="cpu")
    with pytest.raises(BundleError, match=r"--methods grad-eclip,naclip"):
        Localizer(tiny_bundle, method="grad-eclip-naclip", device="cpu")
    with pytest.raises(SceneError, match="can be asked by `naclip`, and this Localizer asks by `clip-es`"):
        Localizer(bundle, method="clip-es", device="cpu").locate(scene, "a cat")
    with pytest.raises(SceneError, match="asks by `vl-score`"):
        Localizer(bundle, device="cpu").locate(scene, "a cat")
    with pytest.raises(ArgumentError, match="`preset` belongs to methods that take masked passes"):
        Localizer(bundle, method="naclip", device="cpu", preset="fast")
    with pytest.raises(ArgumentError, match="spends masked passes"):
        next(localizer.watch(configs.photo("cat"), "a cat"))
    with pytest.raises(ArgumentError, match="comes from a transformer's attention"):
        Localizer(tiny_bundle, device="cpu", affinity=True)
    with pytest.raises(ArgumentError, match="belong to dense methods"):
        Localizer(bundle, device="cpu", windows=96)
    with pytest.raises(ArgumentError, match="`clip-es` ties all patches of a square together"):
        Localizer(bundle, method="clip-es", device="cpu", windows=96)


def test_graphs_keep_the_rules_of_cards(bundle: Path) -> None:
    import onnx

    from export.contract import violations
    from tests.export.cuda_kernels import TABLES, without_kernel

    graphs = sorted((*bundle.glob("dense-*.onnx"), *bundle.glob("prompted-*.onnx")))
    assert len(graphs) == 5
    for path in graphs:
        graph = onnx.load(path, load_external_data=False)
        assert [*violations(graph), *(fault for table in TABLES.values() for fault in without_kernel(graph, table))] == [], (
            path.name
        )


HALF = {"tiny_bundle": ("grad-eclip", "grad-cam-plus"), "tiny_vit_bundle": ("textspan", "legrad")}


@pytest.mark.parametrize("plain", HALF)
def test_half_precision_is_single_but_for_its_digits(plain: str, request: pytest.FixtureRequest, workshop: Path) -> None:
    from export.method_graphs import add_methods

    folder = shutil.copytree(request.getfixturevalue(plain), workshop / f"{plain}-half-methods")
    manifest = dataclasses.replace(read_manifest(folder), precision="fp16")
    loaded = load_tiny(workshop, "tiny-vit" if manifest.tower == "vit" else "tiny-rn")
    manifest = add_methods(folder, manifest, loaded, [find_method(name) for name in HALF[plain]], 0, lambda step: None)
    errors = {name: info.parity["error"] for name, info in manifest.methods.items()}  # of PyTorch in float32
    assert set(errors) == set(HALF[plain])
    assert all(1e-5 < error < 1e-2 for error in errors.values()), errors
