"""Presets: what they spend, what they promise, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.patches import shown_patches
from runtime import Localizer, PresetError, Scene
from runtime.errors import BundleError
from runtime.localization import Localization
from runtime.presets import EXACT, PassPlan, plan_passes
from tests.runtime.samples import noise

PICTURE = noise(60, 90)
QUERY = "a cat"


@pytest.fixture(scope="module")
def exact(tiny_bundle: Path) -> Localizer:
    return Localizer(tiny_bundle)


@pytest.fixture(scope="module")
def whole(exact: Localizer) -> Scene:
    return exact.encode(PICTURE)


def fast(tiny_bundle: Path, passes: int | str | None = None, refine: int | None = None) -> Localizer:
    return Localizer(tiny_bundle, preset="fast", passes=passes, refine=refine)


def test_fast_runs_what_it_says_and_predicts_the_rest(tiny_bundle: Path, whole: Scene) -> None:
    localizer = fast(tiny_bundle, passes=5, refine=0)
    scene = localizer.encode(PICTURE)
    constant = int((~scene.live).sum())
    assert (scene.preset, scene.passes, int(scene.known.sum())) == ("fast", 5, 5 + constant)
    assert scene.embeddings[scene.known] == pytest.approx(whole.embeddings[scene.known], abs=1e-5)
    found = localizer.locate(scene, QUERY)
    assert (found.preset, found.passes) == ("fast", 5)
    errors = [localizer.locate(scene, query).error for query in (QUERY, "a dog", "a red bus", "an astronaut")]
    assert max(errors) > 0
    assert found.to_dict()["error"] == pytest.approx(found.error, abs=1e-4)


def test_refining_is_kept_in_the_scene_it_gives(tiny_bundle: Path, whole: Scene) -> None:
    localizer = fast(tiny_bundle, passes=5, refine=6)
    scene = localizer.encode(PICTURE)
    before = scene.known.copy()
    refined = localizer.refine(scene, QUERY)
    assert refined.passes == min(int(scene.live.sum()), 11)
    assert np.array_equal(scene.known, before)  # the scene that was given stays as it is
    assert refined.embeddings[refined.known] == pytest.approx(whole.embeddings[refined.known], abs=1e-5)
    assert localizer.locate(scene, QUERY).passes == refined.passes


@pytest.mark.parametrize("options", [{"passes": 10_000}, {"passes": 3, "refine": 10_000}])
def test_with_every_map_run_fast_is_exact(tiny_bundle: Path, exact: Localizer, whole: Scene, options: dict[str, Any]) -> None:
    found, wanted = fast(tiny_bundle, **options)(PICTURE, QUERY), exact.locate(whole, QUERY)
    assert (found.error, found.passes) == (0.0, int(whole.live.sum()))
    assert found.map == pytest.approx(wanted.map, abs=1e-4)
    assert found.kept == wanted.kept


@pytest.mark.parametrize("passes", [0, 8])
def test_fast_finds_nothing_present_that_exact_does_not(tiny_bundle: Path, exact: Localizer, whole: Scene, passes: int) -> None:
    queries = [QUERY, "a dog", "a banana", "the sky", "nothing at all"]
    few = fast(tiny_bundle, passes=passes, refine=4)(PICTURE, queries)
    for found, wanted in zip(few, exact.locate(whole, queries), strict=True):
        assert found.margin <= wanted.margin + 1e-5  # told by maps that were run, not by guesses of others


def test_auto_goes_on_until_it_is_sure(tiny_bundle: Path) -> None:
    found = fast(tiny_bundle, passes="auto")(PICTURE, QUERY)
    assert found.error is not None
    assert found.error <= 0.01


def test_instant_takes_one_pass(tiny_bundle: Path, exact: Localizer, whole: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    localizer = Localizer(tiny_bundle, preset="instant")
    monkeypatch.setattr(localizer.encoder, "start", None)  # no masked pass may be run
    scene = localizer.encode(PICTURE)
    assert (scene.preset, scene.passes) == ("instant", 1)
    assert scene.maps == pytest.approx(whole.maps, abs=1e-4)
    assert scene.base == pytest.approx(whole.base, abs=1e-5)
    assert scene.embedding == pytest.approx(whole.embedding, abs=1e-5)
    found = localizer.locate(scene, QUERY)
    assert isinstance(found, Localization)
    assert (found.preset, found.error) == ("instant", None)
    assert found.to_dict()["error"] is None


@pytest.mark.parametrize("preset", ["fast", "instant"])
def test_scenes_keep_what_they_know_in_their_file(tiny_bundle: Path, tmp_path: Path, exact: Localizer, preset: str) -> None:
    scene = Localizer(tiny_bundle, preset=preset).encode(PICTURE)
    scene.save(tmp_path / "a.scene.npz")
    again = Scene.load(tmp_path / "a.scene.npz")
    assert np.array_equal(again.known, scene.known)
    assert again.preset == preset
    assert exact.locate(again, QUERY).preset == preset  # whoever asks it, the answer says how it was encoded


def test_a_guess_costs_one_pass_and_is_gone_on_from(tiny_bundle: Path, tmp_path: Path, whole: Scene) -> None:
    localizer = fast(tiny_bundle, refine=16)
    scene = localizer.encode(PICTURE)
    assert (scene.preset, scene.passes, bool((scene.known & scene.live).any())) == ("fast", 1, False)
    instant = Localizer(tiny_bundle, preset="instant").encode(PICTURE)
    assert scene.embeddings == pytest.approx(instant.embeddings, abs=1e-5)
    assert fast(tiny_bundle, refine=0).locate(scene, QUERY).error is None
    found = localizer.locate(scene, QUERY)
    assert found.passes == 16
    assert found.error is not None
    refined = localizer.refine(scene, QUERY)
    assert refined.embeddings[refined.known] == pytest.approx(whole.embeddings[refined.known], abs=1e-5)
    assert fast(tiny_bundle, refine=0).locate(refined, QUERY).map == pytest.approx(found.map, abs=1e-4)
    for each in (scene, refined):
        again = Scene.load(each.save(tmp_path / "a.scene.npz"))
        assert again.guess is not None
        assert np.array_equal(again.guess, scene.guess)
        kept = replace(again, picture=PICTURE)  # JPEG changes it a little
        assert localizer.locate(kept, "a dog").map == pytest.approx(localizer.locate(each, "a dog").map, abs=1e-4)


def test_a_scene_of_the_older_scheme_is_still_refined(tiny_bundle: Path, exact: Localizer, tmp_path: Path) -> None:
    graphs = {name: graph for name, graph in exact.manifest.graphs.items() if name != "instant"}
    older = Localizer(replace(exact.bundle, manifest=replace(exact.manifest, graphs=graphs)), preset="fast", passes=16, refine=16)
    scene = replace(older.encode(PICTURE), fingerprint=exact.fingerprint)
    assert scene.guess is None
    scene.save(tmp_path / "old.scene.npz")
    again = replace(Scene.load(tmp_path / "old.scene.npz"), picture=PICTURE)
    assert again.about()["schema"] == 2
    wanted = older.locate(replace(scene, fingerprint=older.fingerprint), QUERY)
    found = fast(tiny_bundle, refine=16).locate(again, QUERY)
    assert found.passes == wanted.passes == 32
    assert found.map == pytest.approx(wanted.map, abs=1e-4)


def test_a_scene_without_its_picture_answers_unrefined(tiny_bundle: Path) -> None:
    localizer = fast(tiny_bundle, passes=5, refine=6)
    assert localizer.locate(replace(localizer.encode(PICTURE), picture=None), QUERY).passes == 5


def test_stream_packs_first_passes_and_refines(tiny_bundle: Path) -> None:
    localizer = fast(tiny_bundle, passes=5, refine=4)
    streamed = [found[0] for found in localizer.stream([PICTURE, PICTURE[:40]], [QUERY])]
    alone = [localizer(PICTURE, QUERY), localizer(PICTURE[:40], QUERY)]
    assert [found.passes for found in streamed] == [found.passes for found in alone]
    for found, wanted in zip(streamed, alone, strict=True):
        assert found.map == pytest.approx(wanted.map, abs=1e-4)


def test_progress_counts_further_passes(tiny_bundle: Path) -> None:
    for passes, queries in ((5, [QUERY]), (5, [QUERY, "a dog"]), ("auto", [QUERY]), (600, [QUERY])):
        seen: list[tuple[int, int]] = []
        localizer = Localizer(tiny_bundle, preset="fast", passes=passes, refine=6)
        found = localizer(PICTURE, queries, progress=lambda done, total: seen.append((done, total)))  # noqa: B023 - called now
        assert seen[-1] == (found[0].passes, found[0].passes)
        assert all(done <= total for done, total in seen)
        totals = [total for _, total in seen]
        assert totals == sorted(totals, reverse=True)  # right from the first call on, or an upper bound that shrinks


def test_plans(exact: Localizer) -> None:
    manifest = replace(exact.manifest, maps=replace(exact.manifest.maps, raw=2048, count=2048), batch=32)
    assert plan_passes(manifest, "exact", None, None) == EXACT
    assert plan_passes(manifest, "fast", None, None) == PassPlan("fast", 0, 96)
    assert plan_passes(manifest, "fast", 64, None) == PassPlan("fast", 64, 32)
    assert plan_passes(manifest, "fast", 0, None) == PassPlan("fast", 0, 96)
    assert plan_passes(replace(manifest, batch=64), "fast", None, None) == PassPlan("fast", 0, 128)  # whole batches
    manifest = replace(manifest, graphs={name: graph for name, graph in manifest.graphs.items() if name != "instant"})
    assert plan_passes(manifest, "fast", None, None) == PassPlan("fast", 64, 192)
    assert plan_passes(manifest, "fast", "auto", None) == PassPlan("fast", 64, 192, auto=True)
    assert plan_passes(manifest, "fast", 100, 0) == PassPlan("fast", 100, 0)
    assert plan_passes(replace(manifest, batch=1), "fast", None, None).passes == 64
    few = replace(manifest, maps=replace(manifest.maps, raw=30, count=30), batch=1)
    assert plan_passes(few, "fast", None, None).passes == 2
    assert [spent.most_passes(2048, 1) for spent in (EXACT, PassPlan("fast", 64, 192), PassPlan("instant"))] == [2048, 256, 1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preset": "quick"}, "choose from exact, fast, instant"),
        ({"passes": 64}, 'belong to `preset="fast"`'),
        ({"preset": "instant", "refine": 1}, 'belong to `preset="fast"`'),
        ({"preset": "fast", "passes": -1}, '`passes` must be a whole number from 0 to 1000000 or "auto", got -1'),
        ({"preset": "fast", "passes": "many"}, "\"auto\", got 'many'"),
        ({"preset": "fast", "refine": -1}, "`refine` must be a whole number from 0 to 1000000, got -1"),
        ({"preset": "fast", "passes": True}, "got True"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(tiny_bundle: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(PresetError, match=words.replace("(", r"\(")):
        Localizer(tiny_bundle, **options)


def test_a_transformer_guesses_from_its_patches(tiny_vit_bundle: Path) -> None:
    exact, instant = Localizer(tiny_vit_bundle), Localizer(tiny_vit_bundle, preset="instant")
    found, wanted = instant.encode(PICTURE), exact.encode(PICTURE)
    assert found.passes == 1
    assert found.maps == pytest.approx(wanted.maps, abs=1e-4)
    assert found.base == pytest.approx(wanted.base, abs=1e-5)
    told = instant.encoder.run_checked("instant", instant.encoder.place(PICTURE)[0])
    assert found.embeddings == pytest.approx(shown_patches(found.maps, told["embedding"], told["patches"]), abs=1e-6)
    assert np.abs(told["patches"]).max() > 1e-3
    answer = Localizer(tiny_vit_bundle, preset="fast", refine=12)(PICTURE, QUERY)
    assert (answer.preset, answer.passes) == ("fast", 12)
    assert plan_passes(exact.manifest, "fast", None, None) == PassPlan("fast", 0, 32)


def test_an_older_bundle_is_told_to_be_built_again(exact: Localizer) -> None:
    graphs = {name: graph for name, graph in exact.manifest.graphs.items() if name != "instant"}
    with pytest.raises(BundleError, match="build it again"):
        plan_passes(replace(exact.manifest, graphs=graphs), "instant", None, None)


def test_scenes_only_never_refines(tiny_bundle: Path) -> None:
    scene = fast(tiny_bundle, passes=5, refine=6).encode(PICTURE)
    asked: Callable[..., Localization] = Localizer(tiny_bundle, preset="fast", scenes_only=True).locate
    assert asked(scene, QUERY).passes == 5
