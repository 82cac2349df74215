"""Score-CAM and gScoreCAM behind the front door, against the oracle; what they refuse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.score_cam import top_channels
from engine.spec import DEFAULT, Spec
from export.encoders import FoldedAttentionPool
from export.prompted import ChannelsGraph
from runtime import ArgumentError, BundleError, Localizer, PresetError, Query, QueryError, Scene, SceneError
from tests import configs, oracle, oracle_score_cam
from tests.conftest import load_tiny, with_methods

WORDS = ["a cat", "a rocket", "a cup of coffee"]
PLAIN = DEFAULT.replace(outline="grid", contrast=0.0, presence="any")


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, workshop: Path) -> Path:
    """The tiny ResNet with gScoreCAM's ranking."""
    return with_methods(tiny_bundle, workshop / "tiny-gscorecam", "score-cam,gscorecam")


@pytest.fixture(scope="module")
def seen(workshop: Path, tiny_localizer: Localizer) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The cat as the oracle sees it: maps, cosines (K, Q), the picture, and texts."""
    model = load_tiny(workshop, "tiny-rn").model
    pixels = oracle.preprocess(configs.photo("cat"), 96, "squash")
    texts = torch.from_numpy(tiny_localizer.text.embed([Query(word) for word in WORDS]))
    x = oracle.to_tensor(pixels, oracle.MEAN, oracle.STD, torch.float32)
    maps = oracle.cnn_maps(model, x)
    return maps, oracle_score_cam.masked_cosines(model, pixels, maps, texts, torch.float32), x, texts


def opened(bundle: Path, method: str, spec: Spec = PLAIN, **options: object) -> Localizer:
    return Localizer(bundle, method=method, spec=spec, device="cpu", threads=2, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("space", ["cosine", "logit", "probability"])
def test_score_cam_is_the_oracle_s(bundle: Path, cat_scene: Scene, seen: tuple[Tensor, ...], space: str) -> None:
    maps, cosines, _, _ = seen
    asking = {"background": []} if space == "probability" else {}
    localizer = opened(bundle, "score-cam", PLAIN.replace(score_space=space), **asking)
    for number, found in enumerate(localizer.locate(cat_scene, WORDS)):
        scores = oracle_score_cam.in_space(cosines, space, localizer.manifest.logit_scale, number)
        np.testing.assert_allclose(found.map, oracle_score_cam.score_cam(maps, scores), atol=2e-4)
        assert (found.method, found.maps, found.error) == ("score-cam", 512, 0.0)


def test_ranking_is_autograd_s() -> None:
    import open_clip.modified_resnet

    torch.manual_seed(0)
    pool = open_clip.modified_resnet.AttentionPool2d(3, 64, 4, 24).double()
    for parameter in pool.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    maps, texts = torch.rand(64, 3, 3, dtype=torch.float64), torch.randn(4, 24, dtype=torch.float64)
    texts = texts / texts.norm(dim=1, keepdim=True)
    with torch.no_grad():
        ours = ChannelsGraph(FoldedAttentionPool(pool))(maps.flatten(1).t(), texts)
    for text, row in zip(texts, ours, strict=True):
        leaf = maps.clone().requires_grad_()
        embedding = pool(leaf[None])[0]
        theirs = torch.autograd.grad(embedding @ text / embedding.norm(), leaf)[0].mean(dim=(1, 2))
        torch.testing.assert_close(row, theirs, rtol=0, atol=1e-12)


def test_gscorecam_runs_what_the_words_choose(bundle: Path, cat_scene: Scene, seen: tuple[Tensor, ...], workshop: Path) -> None:
    maps, cosines, x, texts = seen
    localizer = opened(bundle, "gscorecam")
    scene, counted = localizer.encode(configs.photo("cat")), list[tuple[int, int]]()
    found = localizer.locate(scene, WORDS[0], progress=lambda done, total: counted.append((done, total)))
    model, logits = load_tiny(workshop, "tiny-rn").model, localizer.manifest.logit_scale * cosines[:, 0]
    wanted, chosen = oracle_score_cam.gscorecam(model, x, texts[0], maps, logits)
    np.testing.assert_allclose(found.map, wanted, atol=2e-4)
    assert scene.passes <= 2
    assert found.passes == int(scene.live[chosen.numpy()].sum()) == counted[-1][0] == counted[-1][1]
    assert (found.method, found.preset, found.maps, found.error) == ("gscorecam", "exact", 300, 0.0)
    free = localizer.locate(cat_scene, WORDS[0])  # where all maps were run, nothing is run
    np.testing.assert_allclose(free.map, found.map, atol=1e-5)
    assert free.passes == cat_scene.passes


def test_what_questions_chose_serves_other_methods(bundle: Path, tmp_path: Path) -> None:
    localizer = opened(bundle, "gscorecam")
    learnt = localizer.refine(localizer.encode(configs.photo("cat")), WORDS[:2])
    saved = Scene.load(learnt.save(tmp_path / "cat.scene.npz", picture=False))
    np.testing.assert_array_equal(localizer.locate(saved, WORDS[1]).map, localizer.locate(learnt, WORDS[1]).map)
    other = opened(bundle, "score-cam").locate(saved, WORDS[0])
    assert other.error is None  # nothing tells how far off predictions leave it
    with pytest.raises(SceneError, match="lacks passes that `gscorecam` chooses"):
        localizer.locate(saved, "a rusty bicycle on a beach")


def test_score_cam_on_a_transformer_and_from_few_passes(tiny_vit_bundle: Path) -> None:
    localizer = Localizer(tiny_vit_bundle, method="score-cam", preset="fast", passes=8, refine=8, device="cpu", threads=2)
    found = localizer(configs.photo("cat"), "a cat")
    assert (found.method, found.preset) == ("score-cam", "fast")
    assert 8 <= found.passes <= 16
    assert found.spec.contrast == 0


def test_top_channels_go_by_sign() -> None:
    slopes = np.array([[0.1, -5.0, 0.3, 0.3, 0.2]], np.float32)
    np.testing.assert_array_equal(top_channels(slopes, 2), [[False, False, True, True, False]])


def test_refusals(bundle: Path, tiny_bundle: Path, tiny_vit_bundle: Path, cat_scene: Scene) -> None:
    from export.methods import extend

    probable = PLAIN.replace(score_space="probability")
    with pytest.raises(QueryError, match="where words beat other words"):
        opened(bundle, "score-cam", probable, background=[]).locate(cat_scene, "a cat")
    assert opened(bundle, "score-cam", probable, background=["a dog"]).locate(cat_scene, "a cat").method == "score-cam"
    with pytest.raises(ArgumentError, match="which no other words change"):
        opened(bundle, "vl-score", probable)
    with pytest.raises(ArgumentError, match="`background` belong to dense methods"):
        opened(bundle, "score-cam", background=["a dog"])
    with pytest.raises(ArgumentError, match="whatever the preset"):
        opened(bundle, "gscorecam", preset="fast")
    with pytest.raises(PresetError, match="is unknown"):
        opened(bundle, "gscorecam", preset="quick")
    with pytest.raises(ArgumentError, match='`passes="auto"`'):
        opened(bundle, "score-cam", preset="fast", passes="auto")
    with pytest.raises(ArgumentError, match="before all passes are run"):
        next(opened(bundle, "gscorecam").watch(configs.photo("cat"), "a cat"))
    with pytest.raises(BundleError, match=r"python -m export\.methods .* --methods gscorecam"):
        opened(tiny_bundle, "gscorecam")
    with pytest.raises(ArgumentError, match="ResNets alone"):
        opened(tiny_vit_bundle, "gscorecam")
    with pytest.raises(ValueError, match="leave `--side` out"):
        extend(bundle, "gscorecam", 128, (str(bundle.parent / "tiny-rn.json"), "none", 0), lambda step: None)
