"""Where bundles are looked for, and what an unknown name is answered."""

from __future__ import annotations

from pathlib import Path

import platformdirs
import pytest

from runtime import BundleError, Localizer, bundles
from runtime.bundles import bundle_home, bundle_name, find_bundle


def put(folder: Path) -> Path:
    """Something that looks like a bundle."""
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


@pytest.fixture
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home; nothing is shipped, and the current folder is elsewhere."""
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(bundles, "SHIPPED", tmp_path / "shipped")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


def test_the_variable_decides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path))
    assert bundle_home() == tmp_path
    monkeypatch.setenv("VLSCORE_HOME", "~/models")
    assert bundle_home() == Path.home() / "models"


@pytest.mark.parametrize("value", [None, ""])
def test_else_the_platforms_cache(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("VLSCORE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("VLSCORE_HOME", value)
    assert bundle_home() == Path(platformdirs.user_cache_dir("vlscore")) / "bundles"


@pytest.mark.parametrize(
    ("backbone", "tag", "precision", "name"),
    [
        ("RN50", "openai", "fp32", "RN50"),
        ("RN50", "openai", "fp16", "RN50-fp16"),
        ("RN50", "none", "fp32", "RN50-random"),
        ("ViT-B-16", "laion2b_s34b_b88k", "fp32", "ViT-B-16-laion2b_s34b_b88k"),
        ("ViT-B-16", "laion2b_s34b_b88k", "fp16", "ViT-B-16-laion2b_s34b_b88k-fp16"),
        ("RN50", "some/where/mine.safetensors", "fp32", "RN50-mine"),
        ("RN50", "hf-hub:org/name", "fp32", "RN50-name"),
    ],
)
def test_names_of_builds(backbone: str, tag: str, precision: str, name: str) -> None:
    assert bundle_name(backbone, tag, precision) == name


def test_by_name_and_by_folder(empty_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = put(empty_home / "RN50")
    anywhere = put(tmp_path / "elsewhere" / "mine")
    assert find_bundle("RN50") == built
    assert find_bundle(built) == built
    assert find_bundle(str(anywhere)) == anywhere
    assert find_bundle("mine") == Path("mine")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_bundle("~/home/RN50") == built


def test_the_default_is_the_shipped_model(empty_home: Path, tmp_path: Path) -> None:
    shipped = put(tmp_path / "shipped" / bundles.DEFAULT_MODEL)
    assert find_bundle(None) == shipped
    built = put(empty_home / bundles.DEFAULT_MODEL)
    assert find_bundle(None) == built


def test_built_bundles_come_before_shipped_ones(empty_home: Path, tmp_path: Path) -> None:
    put(tmp_path / "shipped" / "RN50")
    built = put(empty_home / "RN50")
    assert find_bundle("RN50") == built


def test_unknown_names_are_answered_with_what_there_is(empty_home: Path, tmp_path: Path) -> None:
    put(empty_home / "RN50")
    put(empty_home / "ViT-B-16")
    put(tmp_path / "shipped" / "demo-rn")
    (empty_home / "not-a-bundle").mkdir()
    with pytest.raises(BundleError) as caught:
        find_bundle("RN5O")
    lines = str(caught.value).split("\n")
    assert lines[0] == f"no bundle named `RN5O` in {empty_home}; there are RN50, ViT-B-16, demo-rn"
    assert lines[1] == "did you mean RN50?"
    assert lines[2].endswith("python -m export.build --backbone RN5O")


@pytest.mark.usefixtures("empty_home")
def test_an_empty_home_says_how_to_build() -> None:
    with pytest.raises(BundleError, match=r"no bundle named `RN50` in .*home\nbuild it .*--backbone RN50$"):
        find_bundle("RN50")


@pytest.mark.usefixtures("empty_home")
@pytest.mark.parametrize("kind", ["path", "text"])
def test_folders_that_are_no_bundles(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    with pytest.raises(BundleError, match=rf"`{folder}` is not a bundle: it has no manifest\.json.*--out {folder}"):
        find_bundle(folder if kind == "path" else str(folder))


def test_localizers_open_by_name(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLSCORE_HOME", str(tiny_bundle.parent))
    assert Localizer("tiny", device="cpu").bundle.folder == tiny_bundle
