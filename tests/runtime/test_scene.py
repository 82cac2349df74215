"""Scenes in files: the same answers years later, and nothing but a whole, harmless, fitting file is taken."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runtime import Localizer, Scene, SceneError
from runtime.scene import ARRAYS


@pytest.fixture
def saved(cat_scene: Scene, tmp_path: Path) -> Path:
    return cat_scene.save(tmp_path / "cat.npz")


def rewrite(path: Path, **changes: Any) -> None:
    """Change arrays of a saved scene; `about` is given as plain values, None takes an array out."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file}
    if isinstance(changes.get("about"), dict):
        about = {**json.loads(bytes(arrays["about"])), **changes["about"]}
        changes["about"] = np.frombuffer(json.dumps({k: v for k, v in about.items() if v is not ...}).encode(), np.uint8)
    arrays.update(changes)
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})  # type: ignore[arg-type]


def test_round_trip(cat_scene: Scene, saved: Path) -> None:
    found = Scene.load(saved)
    for name in ARRAYS:
        array = getattr(found, name)
        assert array.dtype == np.float32
        assert np.array_equal(array, getattr(cat_scene, name)), name
    for name in ("frame", "passes", "preset", "backbone", "fingerprint"):
        assert getattr(found, name) == getattr(cat_scene, name), name
    assert np.array_equal(found.live, cat_scene.live)
    assert found.known.all()
    assert found.picture is not None
    assert cat_scene.picture is not None
    assert found.picture.shape == cat_scene.picture.shape
    assert np.abs(found.picture.astype(int) - cat_scene.picture).mean() < 5  # JPEG


def test_a_loaded_scene_gives_the_same_answers(tiny_localizer: Localizer, cat_scene: Scene, saved: Path) -> None:
    first, second = (tiny_localizer.locate(scene, "a cat") for scene in (cat_scene, Scene.load(saved)))
    assert first.to_dict() == second.to_dict()
    assert np.array_equal(first.map, second.map)
    assert second.save(saved.parent / "drawn.png").is_file()


def test_without_its_picture_a_scene_is_smaller(tiny_localizer: Localizer, cat_scene: Scene, saved: Path, tmp_path: Path) -> None:
    bare = cat_scene.save(tmp_path / "bare.npz", picture=False)
    assert bare.stat().st_size < saved.stat().st_size - 5000
    scene = Scene.load(bare)
    assert scene.picture is None
    assert tiny_localizer.locate(scene, "a cat").to_dict() == tiny_localizer.locate(cat_scene, "a cat").to_dict()


def test_the_file_name_is_taken_as_it_is(cat_scene: Scene, tmp_path: Path) -> None:
    assert cat_scene.save(tmp_path / "cat.scene") == tmp_path / "cat.scene"
    assert [path.name for path in tmp_path.iterdir()] == ["cat.scene"]


def test_relative_names_lie_in_the_current_folder(cat_scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cat_scene.save("cat.npz")
    np.testing.assert_array_equal(Scene.load("cat.npz").live, cat_scene.live)


def test_no_pickle_is_written(saved: Path) -> None:
    with np.load(saved, allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fu" for name in file)
        assert set(file) == {*ARRAYS, "about", "guide", "jpeg"}


class Touch:
    """Unpickling this makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("where", ["maps", "about", "jpeg"])
def test_no_pickle_is_read(saved: Path, tmp_path: Path, where: str) -> None:
    trap = np.array([Touch(tmp_path / "it ran")], dtype=object)
    rewrite(saved, **{where: trap})
    with pytest.raises(SceneError, match="is not a saved scene, or is damaged"):
        Scene.load(saved)
    assert not (tmp_path / "it ran").exists()


def test_a_bare_pickle_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(pickle.dumps(Touch(tmp_path / "it ran")))
    with pytest.raises(SceneError, match="is not a saved scene"):
        Scene.load(tmp_path / "x.npz")
    assert not (tmp_path / "it ran").exists()


@pytest.mark.parametrize("moment", ["while writing", "at the rename"])
def test_a_failed_save_leaves_the_old_file(
    cat_scene: Scene, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    before = saved.read_bytes()

    def half(file: Any, **_: Any) -> None:
        file.write(b"PK half a file")
        raise OSError(28, "No space left on device")

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((np, "savez", half) if moment == "while writing" else (os, "replace", fail)))
    with pytest.raises(SceneError, match=r"cat\.npz` cannot be saved .*No space.*choose another place"):
        cat_scene.save(saved)
    assert saved.read_bytes() == before
    assert list(tmp_path.iterdir()) == [saved]


def test_saving_replaces_what_was_there(cat_scene: Scene, saved: Path) -> None:
    saved.write_bytes(b"something else")
    cat_scene.save(saved)
    np.testing.assert_array_equal(Scene.load(saved).live, cat_scene.live)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"scene `.*absent\.npz` does not exist"):
        Scene.load(tmp_path / "absent.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", b"\x93NUMPY\x01\x00", b"\x00" * 1000])
def test_files_that_are_no_scenes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(SceneError, match=r"x\.npz` is not a saved scene, or is damaged .*encode the picture again"):
        Scene.load(tmp_path / "x.npz")


def test_a_single_array_and_a_folder_are_no_scenes(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    for path in (tmp_path / "x.npy", tmp_path):
        with pytest.raises(SceneError, match="is not a saved scene"):
            Scene.load(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_scenes_are_refused(saved: Path, share: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SceneError, match="is damaged"):
        Scene.load(saved)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_altered_scenes_are_refused(saved: Path, share: float) -> None:
    data = bytearray(saved.read_bytes())
    data[int(len(data) * share)] ^= 0xFF
    saved.write_bytes(data)
    with pytest.raises(SceneError, match="is damaged"):
        Scene.load(saved)


@pytest.mark.parametrize("name", [*ARRAYS, "about"])
def test_every_part_is_needed(saved: Path, name: str) -> None:
    rewrite(saved, **{name: None})
    with pytest.raises(SceneError, match="is damaged"):
        Scene.load(saved)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maps", np.zeros((5, 3, 3))),
        ("maps", np.zeros(512)),
        ("embeddings", np.zeros((512, 63))),
        ("embeddings", np.zeros(64)),
        ("base", np.zeros(63)),
        ("embedding", np.zeros((1, 64))),
        ("base", np.full(64, np.nan)),
        ("maps", np.array(["text"])),
    ],
)
def test_arrays_that_do_not_fit_are_refused(saved: Path, name: str, value: Any) -> None:
    rewrite(saved, **{name: value})
    with pytest.raises(SceneError, match="damaged"):
        Scene.load(saved)


@pytest.mark.parametrize(
    "about",
    [{"frame": None}, {"frame": {"side": 96}}, {"passes": ...}, {"fingerprint": ...}, {"frame": [1, 2]}],
)
def test_descriptions_that_do_not_fit_are_refused(saved: Path, about: dict[str, Any]) -> None:
    rewrite(saved, about=about)
    with pytest.raises(SceneError, match="damaged"):
        Scene.load(saved)


@pytest.mark.parametrize("text", [b"[]", b"null", b"3", b"{", b"\xff"])
def test_descriptions_that_are_none_are_refused(saved: Path, text: bytes) -> None:
    rewrite(saved, about=np.frombuffer(text, np.uint8))
    with pytest.raises(SceneError):
        Scene.load(saved)


def test_another_schema_is_named(saved: Path) -> None:
    rewrite(saved, about={"schema": 1})
    with pytest.raises(SceneError, match=r"has schema 1, this version reads 2 and 3; encode the picture again"):
        Scene.load(saved)


def test_scenes_of_another_model_are_refused(tiny_vit_localizer: Localizer, tiny_localizer: Localizer, cat_scene: Scene) -> None:
    with pytest.raises(SceneError, match=r"made by another model \(tiny-rn\).*\(tiny-vit, fp32\)"):
        tiny_vit_localizer.locate(cat_scene, "a cat")
    other_build = dataclasses.replace(cat_scene, fingerprint="0" * 64)
    with pytest.raises(SceneError, match="or another build of it"):
        tiny_localizer.locate(other_build, "a cat")
