"""Methods of models that are pulled by name: filled with the model, or added to it later, without PyTorch."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from engine.manifest import Manifest, fingerprint
from runtime import ArgumentError, BundleError, Localizer
from runtime.bundles import read_manifest
from runtime.filling.methods import add_methods, how_to_add
from runtime.filling.place import write_manifest
from tests import configs, filled
from tests.runtime.test_pull import _shelf, run, weights  # noqa: F401 - fixtures


@pytest.fixture
def pulled(weights: Path, tmp_path: Path) -> Path:  # noqa: F811
    """A tiny transformer with all the methods that there are of it."""
    result = run("pull", "tiny-vit", "--from", weights / "tiny-vit.safetensors", "--untrained", "--out", tmp_path / "whole")
    assert result.exit_code == 0, result.output
    return tmp_path / "whole"


@pytest.fixture
def plain(weights: Path, tmp_path: Path) -> Path:  # noqa: F811
    """The same under its name, and without."""
    result = run("pull", "tiny-vit", "--from", weights / "tiny-vit.safetensors", "--untrained", "--methods", "none")
    assert result.exit_code == 0, result.output
    return tmp_path / "home" / "tiny-vit"


def test_a_pulled_model_has_its_methods(pulled: Path) -> None:
    assert set(read_manifest(pulled).methods) == set(filled.METHODS["tiny-vit"].split(","))
    localizer = Localizer(pulled, method="naclip", device="cpu", affinity=True)
    assert [found.method for found in localizer(configs.photo("cat"), ["a cat", "a rocket"])] == ["naclip", "naclip"]
    asked = Localizer(pulled, method="clip-es", device="cpu", background=[])(configs.photo("cat"), ["a cat", "a rocket"])
    assert len(asked) == 2


def test_a_method_is_added_when_it_is_asked_for(plain: Path, pulled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = read_manifest(plain)
    assert not before.methods
    opened = Localizer(plain.name, device="cpu")
    localizer = Localizer(plain.name, method="naclip", device="cpu", affinity=True, download=False)
    assert f"adding `naclip`, `affinity` to {plain}" in capsys.readouterr().err
    after = localizer.manifest
    assert set(after.methods) == {"naclip", "affinity"}
    assert {name: after.files[name] for name in before.files} == before.files
    assert fingerprint(after) == fingerprint(before)
    for name in set(after.files) - set(before.files):
        assert (plain / name).read_bytes() == (pulled / name).read_bytes()
    opened.bundle.check_unchanged()  # who has the model open goes on
    assert localizer(configs.photo("cat"), "a cat").method == "naclip"
    assert sorted(path.name for path in plain.parent.iterdir()) == [plain.name]


def test_methods_are_added_by_command(plain: Path, pulled: Path) -> None:
    result = run("pull", "tiny-vit", "--out", plain, "--methods", "all")
    assert result.exit_code == 0, result.output
    assert {path.name: path.read_bytes() for path in plain.iterdir() if path.name != "manifest.json"} == {
        path.name: path.read_bytes() for path in pulled.iterdir() if path.name != "manifest.json"
    }
    assert "did you mean `naclip`" in run("pull", "tiny-vit", "--out", plain, "--methods", "naklip").output
    assert "--methods" in run("pull", "tiny-vit", "--out", plain).output


def test_the_way_without_pytorch_is_named_where_there_is_one(plain: Path) -> None:
    with pytest.raises(BundleError, match=r"`vlscore pull tiny-vit --methods naclip`"):
        Localizer(plain, method="naclip", device="cpu")  # a folder is left as it is
    elsewhere = shutil.copytree(plain, plain.parent.parent / "elsewhere")
    with pytest.raises(BundleError, match=rf"`vlscore pull tiny-vit --out {elsewhere} --methods affinity`"):
        Localizer(elsewhere, affinity=True, device="cpu")
    half = Manifest.from_dict({**read_manifest(plain).to_dict(), "precision": "fp16"})
    assert how_to_add(plain, half, "naclip") == f"`python -m export.methods {plain} --methods naclip`"
    write_manifest(plain, half)
    with pytest.raises(BundleError, match=r"methods have no template in fp16; with PyTorch: `python -m export\.methods"):
        add_methods(plain, "naclip", print)


def test_what_a_bundle_does_not_hold_is_pulled_again(weights: Path, tmp_path: Path) -> None:  # noqa: F811
    out, file = tmp_path / "rn", weights / "tiny-rn.safetensors"
    assert run("pull", "tiny-rn", "--from", file, "--untrained", "--out", out, "--methods", "none").exit_code == 0
    assert run("pull", "tiny-rn", "--out", out, "--methods", "maskclip,gscorecam").exit_code == 0
    assert set(read_manifest(out).methods) == {"maskclip", "gscorecam"}
    lacking = run("pull", "tiny-rn", "--out", out, "--methods", "naclip")
    assert lacking.exit_code == 1
    assert "visual.attnpool.k_proj.bias" in lacking.output  # which a folded attention pool has no use for
    assert f"`vlscore pull tiny-rn --out {out} --force`" in " ".join(lacking.output.split())
    assert "vision transformers alone" in run("pull", "tiny-rn", "--out", out, "--methods", "gem").output
    assert run("pull", "tiny-rn", "--from", file, "--untrained", "--out", out, "--force").exit_code == 0
    assert set(read_manifest(out).methods) == {"maskclip", "naclip", "gscorecam"}


def test_a_bundle_of_other_graphs_is_left_alone(plain: Path, tmp_path: Path) -> None:
    other = shutil.copytree(plain, tmp_path / "other")
    graph = (other / "image.onnx").read_bytes()
    (other / "image.onnx").write_bytes(graph.replace(b"MatMul", b"MatMuk", 1))
    before = {path.name: path.read_bytes() for path in other.iterdir()}
    result = run("pull", "tiny-vit", "--out", other, "--methods", "naclip")
    assert "is not as this version makes it; make it again: `vlscore pull tiny-vit" in " ".join(result.output.split())
    assert {path.name: path.read_bytes() for path in other.iterdir()} == before


def test_a_method_s_graph_is_looked_into_before_it_runs(pulled: Path) -> None:
    manifest = read_manifest(pulled)
    other = (pulled / "image.onnx").read_bytes()
    (pulled / "dense-naclip.onnx").write_bytes(other)
    files = manifest.files | {"dense-naclip.onnx": manifest.files["image.onnx"]}
    write_manifest(pulled, dataclasses.replace(manifest, files=files))
    Localizer(pulled, device="cpu")
    with pytest.raises(BundleError, match=r"`dense-naclip\.onnx` cannot be used: its outputs are"):
        Localizer(pulled, method="naclip", device="cpu")


def test_unknown_methods_of_a_new_model(weights: Path) -> None:  # noqa: F811
    result = run("pull", "tiny-vit", "--from", weights / "tiny-vit.safetensors", "--untrained", "--methods", "naklip")
    assert "did you mean `naclip`" in result.output
    assert "did you mean `naclip`" in run("pull", "tiny-vit", "--methods", "naklip").output  # nothing was fetched for it
    with pytest.raises(ArgumentError, match="did you mean `naclip`"):
        Localizer(method="naklip")
