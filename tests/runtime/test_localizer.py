"""The front door, on real bundles and real pictures."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.manifest import TEXT_GRAPHS
from engine.spec import DEFAULT, PAPER
from runtime import (
    ArgumentError,
    BundleError,
    Localization,
    Localizer,
    PictureError,
    Query,
    QueryError,
    Scene,
    SceneError,
    Spec,
    VlscoreError,
    encoder,
)
from tests.configs import PICTURES, photo

NAMES = ("astronaut", "rocket", "coffee")


def close(a: Localization, b: Localization) -> None:
    """The same answer, up to the rounding of another batch."""
    assert (a.query, a.present, a.kept, len(a), a.frame) == (b.query, b.present, b.kept, len(b), b.frame)
    np.testing.assert_allclose(a.map, b.map, atol=1e-4)
    np.testing.assert_allclose(a.xyxy, b.xyxy, atol=1.01)


def test_one_query_gives_one_answer_and_several_a_list(tiny_localizer: Localizer, cat_scene: Scene) -> None:
    one = tiny_localizer.locate(cat_scene, "a cat")
    assert isinstance(one, Localization)
    assert isinstance(tiny_localizer.locate(cat_scene, Query(("a cat",))), Localization)
    for several in (["a cat"], ("a cat",)):
        found = tiny_localizer.locate(cat_scene, several)
        assert isinstance(found, list)
        assert found[0].to_dict() == one.to_dict()
    mixed = tiny_localizer.locate(cat_scene, ["a dog", Query(("cat", "kitten"), ("a {}",)), "a cat"])
    assert [found.query for found in mixed] == ["a dog", "cat", "a cat"]


def test_every_kind_of_picture_is_taken(tiny_vit_localizer: Localizer) -> None:
    path = PICTURES / "coffee.jpg"
    forms: list[Any] = [path, str(path), path.read_bytes(), Image.open(io.BytesIO(path.read_bytes())), photo("coffee")]
    expected = tiny_vit_localizer(path, "a cat").to_dict()
    assert expected["present"]
    assert all(tiny_vit_localizer(form, "a cat").to_dict() == expected for form in forms)


def test_answers_repeat_exactly(tiny_vit_localizer: Localizer) -> None:
    first, second = (tiny_vit_localizer(photo("coffee"), ["a cat", "a red bus"]) for _ in range(2))
    assert all(found.present for found in first)
    assert [found.to_dict() for found in first] == [found.to_dict() for found in second]


def test_pictures_and_scenes_are_left_as_they_were(tiny_vit_localizer: Localizer) -> None:
    picture = photo("coffee").copy()
    before = picture.copy()
    picture.setflags(write=False)  # writing would raise
    scene = tiny_vit_localizer.encode(picture)
    arrays = {name: getattr(scene, name).copy() for name in ("maps", "embeddings", "base", "embedding")}
    for name in arrays:
        getattr(scene, name).setflags(write=False)
    found = tiny_vit_localizer.locate(scene, ["a cat"] * 3)
    assert len(found) == 3
    list(tiny_vit_localizer.stream([picture, picture], "a cat"))
    np.testing.assert_array_equal(picture, before)
    assert all(np.array_equal(getattr(scene, name), array) for name, array in arrays.items())


@pytest.mark.parametrize("order", ["C", "F", "strided"])
def test_arrays_of_any_layout_are_taken(tiny_vit_localizer: Localizer, order: str) -> None:
    picture = photo("coffee")
    layouts = {"C": picture, "F": np.asfortranarray(picture), "strided": np.repeat(picture, 2, axis=1)[:, ::2]}
    expected = tiny_vit_localizer(picture, "a cat").to_dict()
    assert expected["present"]
    assert tiny_vit_localizer(layouts[order], "a cat").to_dict() == expected


def test_a_stream_gives_what_single_calls_give(tiny_vit_localizer: Localizer) -> None:
    queries = ["a cat", Query(("person", "astronaut"), ("a {}.",))]
    pictures = [photo(name) for name in NAMES]
    streamed = list(tiny_vit_localizer.stream(pictures, queries))
    assert [len(found) for found in streamed] == [2, 2, 2]
    assert any(found.present for both in streamed for found in both)
    for picture, found in zip(pictures, streamed, strict=True):
        for a, b in zip(found, tiny_vit_localizer(picture, queries), strict=True):
            close(a, b)


def test_a_stream_takes_any_iterable_and_a_single_query(tiny_vit_localizer: Localizer) -> None:
    paths = [PICTURES / f"{name}.jpg" for name in NAMES]
    found = list(tiny_vit_localizer.stream(iter(paths), "a cat"))
    assert [one.frame.picture_hw for one in found] == [photo(name).shape[:2] for name in NAMES]
    assert list(tiny_vit_localizer.stream([], "a cat")) == []


def test_scenes_of_many_pictures_are_those_encoded_alone(tiny_vit_localizer: Localizer) -> None:
    pictures = [photo(name) for name in NAMES]
    scenes = list(tiny_vit_localizer.scenes(pictures))
    for picture, scene in zip(pictures, scenes, strict=True):
        alone = tiny_vit_localizer.encode(picture)
        assert (scene.passes, scene.frame, scene.fingerprint) == (alone.passes, alone.frame, alone.fingerprint)
        np.testing.assert_allclose(scene.embeddings, alone.embeddings, atol=1e-6)


def test_a_bad_picture_in_a_stream_is_an_error(tiny_vit_localizer: Localizer) -> None:
    with pytest.raises(PictureError):
        list(tiny_vit_localizer.stream([photo("coffee"), b"no picture"], "a cat"))


def test_progress_of_one_picture(tiny_vit_localizer: Localizer) -> None:
    told: list[tuple[int, int]] = []
    tiny_vit_localizer(photo("coffee"), "a cat", progress=lambda done, total: told.append((done, total)))
    assert told == [(32, 36), (36, 36)]


def test_progress_of_a_stream(tiny_vit_localizer: Localizer) -> None:
    told: list[tuple[int, int]] = []
    list(tiny_vit_localizer.stream([photo(name) for name in NAMES], "a cat", progress=lambda *now: told.append(now)))
    assert told == [(32, 108), (64, 108), (96, 108), (108, 108)]


@pytest.mark.parametrize("bad", ["", [], ["a cat", " "], 3])
def test_a_bad_query_is_told_before_the_passes(tiny_vit_localizer: Localizer, bad: Any) -> None:
    told: list[Any] = []
    with pytest.raises(QueryError):
        tiny_vit_localizer(photo("coffee"), bad, progress=lambda *now: told.append(now))
    with pytest.raises(QueryError):
        next(tiny_vit_localizer.stream([photo("coffee")], bad, progress=lambda *now: told.append(now)))
    assert told == []


def test_saved_scenes_never_load_the_image_half(bundle_copy: Path, cat_scene: Scene, tmp_path: Path) -> None:
    path = cat_scene.save(tmp_path / "cat.npz")
    expected = Localizer(bundle_copy, device="cpu").locate(cat_scene, "a cat")
    for name in ("image.onnx", "image.onnx.weights", "masked.onnx"):
        (bundle_copy / name).unlink()
    with pytest.raises(BundleError, match=r"lacks `image\.onnx"):
        Localizer(bundle_copy, device="cpu")
    localizer = Localizer(bundle_copy, device="cpu", scenes_only=True)
    assert localizer.locate(Scene.load(path), "a cat").to_dict() == expected.to_dict()
    with pytest.raises(BundleError, match=r"`scenes_only=True` and cannot encode pictures; open it without"):
        localizer.encode(photo("coffee"))
    with pytest.raises(BundleError, match="cannot encode"):
        next(localizer.stream([photo("coffee")], "a cat"))
    with pytest.raises(BundleError, match="cannot encode"):
        next(localizer.scenes([photo("coffee")]))
    with pytest.raises(BundleError, match="cannot encode"):
        localizer(photo("coffee"), "a cat")


def test_graphs_are_loaded_when_first_run(tiny_vit_bundle: Path) -> None:
    localizer = Localizer(tiny_vit_bundle, device="cpu")
    sessions: dict[str, Any] = {
        **{name: localizer.text.graphs[place].session for place, name in enumerate(TEXT_GRAPHS)},
        "image": localizer.encoder.sessions["image"],
        "masked": localizer.encoder.sessions["masked"],
        "saliency": localizer.answerer.session,
    }

    def loaded() -> set[str]:
        return {name for name, session in sessions.items() if session.opened is not None}

    assert loaded() == set()
    scene = localizer.encode(photo("coffee"))
    assert loaded() == {"image", "masked"}
    localizer.locate(scene, "a cat")
    assert loaded() == {"image", "masked", "text-short", "saliency"}
    localizer.locate(scene, [f"thing {number}" for number in range(10)])
    assert loaded() == {"image", "masked", "text-short", "text-many", "saliency"}
    localizer.locate(scene, "a cat on a mat before a house by a lake under a tree in a park of a town")
    assert loaded() == {"image", "masked", "saliency", *TEXT_GRAPHS}


def test_specs_by_name_and_by_value(tiny_bundle: Path) -> None:
    assert Localizer(tiny_bundle, device="cpu").spec == DEFAULT
    assert Localizer(tiny_bundle, device="cpu", spec="paper").spec == PAPER
    mine = Spec(name="mine", threshold=0.5)
    assert Localizer(tiny_bundle, device="cpu", spec=mine).spec is mine
    with pytest.raises(ValueError, match="`spec` must be one of"):
        Localizer(tiny_bundle, device="cpu", spec="papr")


@pytest.mark.parametrize("change", [{"mask_align": "centers"}, {"mask_order": "normalise-first"}])
def test_masks_that_are_baked_in_otherwise_are_refused(tiny_bundle: Path, change: dict[str, Any]) -> None:
    spec = DEFAULT.replace(name="other", **change)
    with pytest.raises(
        BundleError, match=r"spec `other` wants masks .* was built with \(corners, upsample-first\); build it with"
    ):
        Localizer(tiny_bundle, device="cpu", spec=spec)


def test_the_paper_spec_stretches_the_crop(tiny_vit_bundle: Path, tiny_vit_localizer: Localizer) -> None:
    paper = Localizer(tiny_vit_bundle, device="cpu", spec="paper")(photo("coffee"), "a cup")
    assert paper.frame.geometry == "stretch"
    assert paper.saliency.shape == photo("coffee").shape[:2]
    assert tiny_vit_localizer(photo("coffee"), "a cup").frame.geometry == DEFAULT.geometry


def test_scenes_are_interchangeable_between_specs_of_one_geometry(tiny_bundle: Path, cat_scene: Scene) -> None:
    sharp = Localizer(tiny_bundle, device="cpu", spec=DEFAULT.replace(name="sharp", threshold=0.9))
    assert sharp.locate(cat_scene, "a cat").spec.threshold == 0.9


def test_another_process_opens_the_same(tiny_bundle: Path) -> None:
    localizer = Localizer(tiny_bundle, device="cpu", threads=1, spec=DEFAULT.replace(threshold=0.7), preset="instant")
    again = reopened(localizer)
    assert repr(again) == repr(localizer)
    assert again.spec.threshold == 0.7
    assert again.info["bundle"] == str(tiny_bundle)


@pytest.mark.parametrize("method", ["vl-score", "score-cam"])
def test_another_spec_needs_no_other_model(tiny_bundle: Path, method: str) -> None:
    first = Localizer(tiny_bundle, device="cpu", method=method)
    scene = first.encode(photo("cat"))
    before = first.locate(scene, "a cat")
    graphs = dict(first.model.sessions)
    second = first.with_spec(first.spec.replace(threshold=0.8, presence="any"))
    assert second.model.sessions == graphs  # the very same
    assert second.locate(scene, "a cat").to_dict() == reopened(second).locate(scene, "a cat").to_dict()
    assert first.locate(scene, "a cat").to_dict() == before.to_dict()
    assert second.spec.threshold == 0.8 != first.spec.threshold


def reopened(localizer: Localizer) -> Localizer:
    return pickle.loads(pickle.dumps(localizer))  # type: ignore[no-any-return]


def test_info_is_plain(tiny_bundle: Path, tiny_localizer: Localizer) -> None:
    import json

    assert repr(tiny_localizer) == "Localizer(tiny-rn, vl-score, exact, fp32 on cpu)"
    info = json.loads(json.dumps(tiny_localizer.info))
    assert (info["model"], info["weights"], info["trained"]) == ("tiny-rn", "none", False)
    assert (info["device"], info["precision"], info["batch"], info["maps"]) == ("cpu", "fp32", 32, 512)
    assert info["bundle"] == str(tiny_bundle)
    assert tiny_localizer.manifest.dim == 64


def test_half_precision_finds_nearly_the_same(tiny_fp16_bundle: Path, tiny_localizer: Localizer) -> None:
    half = Localizer(tiny_fp16_bundle, device="cpu", threads=2)
    picture = photo("coffee")[:96, :96]
    a, b = tiny_localizer.encode(picture), half.encode(picture)
    assert half.info["precision"] == "fp16"
    # All but the few maps so nearly constant that half precision's noise becomes their mask.
    cosines = (a.embeddings * b.embeddings).sum(axis=1)
    assert np.median(cosines) > 0.999
    assert cosines.min() > 0.95
    assert b.embeddings.dtype == b.maps.dtype == np.float32


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 5000), (96, 96)])
def test_pictures_of_any_shape(tiny_vit_localizer: Localizer, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    found = tiny_vit_localizer(picture, "noise")
    assert found.saliency.shape == shape
    assert (found.xyxy[:, 0::2] <= shape[1]).all()
    assert (found.xyxy[:, 1::2] <= shape[0]).all()


def test_a_blank_picture_is_answered(tiny_vit_localizer: Localizer) -> None:
    assert isinstance(tiny_vit_localizer(np.zeros((50, 40, 3), np.uint8), "a cat"), Localization)


def test_one_query_streams_one_answer_a_picture_and_several_a_list(tiny_vit_localizer: Localizer) -> None:
    pictures = [photo("cat"), photo("coffee")]
    for one, several in zip(
        tiny_vit_localizer.stream(pictures, "a cat"), tiny_vit_localizer.stream(pictures, ["a cat", "a dog"]), strict=True
    ):
        assert isinstance(one, Localization)
        assert [found.query for found in several] == ["a cat", "a dog"]
        assert one.to_dict() == several[0].to_dict()


@pytest.mark.parametrize("pictures", ["a.jpg", b"bytes", Path("a.jpg"), np.zeros((4, 4, 3), np.uint8), None, 3])
def test_one_picture_where_several_were_meant(tiny_vit_localizer: Localizer, pictures: Any) -> None:
    with pytest.raises(PictureError, match=r"give several, such as a list of paths, or ask one"):
        tiny_vit_localizer.stream(pictures, "a cat")


def test_what_fails_is_skipped_and_told(tiny_vit_localizer: Localizer) -> None:
    skipped: list[tuple[Any, str]] = []
    pictures: list[Any] = ["missing.jpg", photo("cat"), None, photo("coffee"), b""]
    found = list(
        tiny_vit_localizer.stream(pictures, "a cat", on_skip=lambda picture, error: skipped.append((picture, str(error))))
    )
    assert [one.frame.picture_hw for one in found] == [photo(name).shape[:2] for name in ("cat", "coffee")]
    assert [picture for picture, _ in skipped] == ["missing.jpg", None, b""]
    with pytest.raises(PictureError, match=r"missing\.jpg"):
        list(tiny_vit_localizer.stream(pictures, "a cat"))


def test_a_picture_that_fails_while_it_is_placed_is_skipped_too(
    tiny_vit_localizer: Localizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped: list[str] = []
    real = encoder.fit_to_square

    def tight(picture: Any, *rest: Any) -> Any:
        if picture.shape == photo("coffee").shape:
            raise MemoryError("no room")
        return real(picture, *rest)

    monkeypatch.setattr(encoder, "fit_to_square", tight)
    pictures = [photo("cat"), photo("coffee"), photo("rocket")]
    found = list(tiny_vit_localizer.scenes(pictures, on_skip=lambda picture, error: skipped.append(repr(error))))
    assert len(found) == 2
    assert skipped == ["MemoryError('no room')"]


def test_a_path_is_no_scene(tiny_vit_localizer: Localizer) -> None:
    with pytest.raises(SceneError, match=r"encode the picture first: `scene = localizer\.encode\(picture\)`"):
        tiny_vit_localizer.locate("street.jpg", "a cat")  # type: ignore[call-overload]


def test_a_scene_of_another_geometry_is_refused_unless_it_shows_the_same(tiny_vit_bundle: Path) -> None:
    crop, stretch, squash = (
        Localizer(tiny_vit_bundle, device="cpu", spec=DEFAULT.replace(geometry=name)) for name in ("crop", "stretch", "squash")
    )
    scene = crop.encode(photo("cat"))
    assert stretch.locate(scene, "a cat").to_dict() == stretch(photo("cat"), "a cat").to_dict()
    with pytest.raises(SceneError, match=r"encoded with the geometry `crop`, and this Localizer's spec wants `squash`"):
        squash.locate(scene, "a cat")


def test_generators_of_queries_are_read_once(tiny_vit_localizer: Localizer) -> None:
    words = ["a cat", "a dog"]
    found = tiny_vit_localizer(photo("cat"), (word for word in words))  # type: ignore[call-overload]
    assert [one.query for one in found] == words


@pytest.mark.parametrize(
    "options",
    [
        {"spec": "nope"},
        {"scenes_only": np.ones(2)},
        {"download": "no"},
        {"spec": 3},
        {"device": 3},
        {"device": "gpu"},
        {"threads": 1.5},
        {"threads": True},
        {"threads": 10**9},
        {"precision": 16},
        {"preset": ["fast"]},
        {"templates": 3},
        {"templates": [3]},
        {"passes": np.arange(3), "preset": "fast"},
        {"model": 3},
        {"backend": 3},
        {"device_options": np.zeros(3)},
        {"device": np.zeros(3)},
    ],
)
def test_arguments_of_the_wrong_kind_are_named(tiny_vit_bundle: Path, options: dict[str, Any]) -> None:
    with pytest.raises(VlscoreError, match=f"`?{next(iter(options))}|template|device|preset"):
        Localizer(**{"model": tiny_vit_bundle, "device": "cpu", **options})


@pytest.mark.parametrize("words", ["\0", "&nbsp;", "\ufeff", " ", "", 3, None, [], [b"cat"], b"cat"])
def test_words_that_name_nothing_are_refused(tiny_vit_localizer: Localizer, words: Any) -> None:
    with pytest.raises(QueryError):
        tiny_vit_localizer(photo("cat"), words)


@pytest.mark.parametrize("thing", [3, "print", [print]])
def test_what_cannot_be_called_is_refused_before_the_work(tiny_vit_localizer: Localizer, thing: Any) -> None:
    pixels = photo("cat")
    for act in (
        lambda: tiny_vit_localizer.encode(pixels, progress=thing),
        lambda: tiny_vit_localizer(pixels, "a cat", progress=thing),
        lambda: tiny_vit_localizer.scenes([pixels], progress=thing),
        lambda: tiny_vit_localizer.stream([pixels], "a cat", on_skip=thing),
    ):
        with pytest.raises(ArgumentError, match=r"`(progress|on_skip)` must be a function, found "):
            act()
