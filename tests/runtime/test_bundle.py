"""Opening bundles: whatever is wrong with one is found before anything is loaded, and the repair is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.manifest import Manifest
from runtime import BundleError, Localizer
from runtime.bundles import open_bundle, read_manifest

REPAIR = "python -m export.build --backbone"


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a bundle's manifest."""
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_whole_bundle_opens(tiny_bundle: Path) -> None:
    bundle = open_bundle(tiny_bundle)
    assert bundle.graph("masked") == tiny_bundle / "masked.onnx"
    assert bundle.file("tokenizer.json").is_file()
    assert isinstance(bundle.manifest, Manifest)


def names(folder: Path) -> list[str]:
    return sorted(json.loads((folder / "manifest.json").read_text())["files"])


def test_every_file_is_covered(tiny_bundle: Path) -> None:
    assert {*names(tiny_bundle), "manifest.json"} == {path.name for path in tiny_bundle.iterdir()}


def test_each_missing_file_is_named(bundle_copy: Path) -> None:
    for name in names(bundle_copy):
        (bundle_copy / name).rename(bundle_copy / "aside")
        with pytest.raises(BundleError, match=rf"lacks `{name}`.*`{REPAIR} tiny-rn --force --out .*copy`"):
            open_bundle(bundle_copy)
        (bundle_copy / "aside").rename(bundle_copy / name)
    open_bundle(bundle_copy)


def test_each_truncated_file_is_named(bundle_copy: Path) -> None:
    for name in names(bundle_copy):
        data = (bundle_copy / name).read_bytes()
        (bundle_copy / name).write_bytes(data[:-1])
        message = rf"`{name}` has {len(data) - 1} bytes instead of {len(data)} \(truncated\?\).*{REPAIR}"
        with pytest.raises(BundleError, match=message):
            open_bundle(bundle_copy)
        (bundle_copy / name).write_bytes(data)


def test_each_altered_file_is_named(bundle_copy: Path) -> None:
    for name in names(bundle_copy):
        data = (bundle_copy / name).read_bytes()
        middle = len(data) // 2
        (bundle_copy / name).write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
        with pytest.raises(BundleError, match=rf"`{name}` was altered after it was built.*{REPAIR}"):
            open_bundle(bundle_copy)
        (bundle_copy / name).write_bytes(data)


def test_a_folder_in_place_of_a_file(bundle_copy: Path) -> None:
    (bundle_copy / "text.onnx").unlink()
    (bundle_copy / "text.onnx").mkdir()
    with pytest.raises(BundleError, match=r"lacks `text\.onnx`"):
        open_bundle(bundle_copy)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "\ufeff{}", '{"schema": "1"}', '{"schema": 1}', "\x00"])
def test_broken_manifests_are_refused_with_the_repair(bundle_copy: Path, content: str) -> None:
    (bundle_copy / "manifest.json").write_text(content)
    with pytest.raises(BundleError, match=rf"copy`: manifest\.json cannot be used: (.|\n)*{REPAIR}"):
        open_bundle(bundle_copy)


def test_a_manifest_that_is_no_text(bundle_copy: Path) -> None:
    (bundle_copy / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError, match=r"manifest\.json cannot be used"):
        open_bundle(bundle_copy)


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"has no manifest\.json; build it again"):
        read_manifest(tmp_path)


def test_a_newer_schema_says_to_update_or_rebuild(bundle_copy: Path) -> None:
    edit(bundle_copy, lambda content: content.update(schema=2, brand_new_field=True))
    with pytest.raises(
        BundleError, match=rf"made by a newer vlscore \(schema 2, this one reads 1\): update, or rebuild with `{REPAIR}"
    ):
        open_bundle(bundle_copy)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "sub/../../outside", "..\\outside", "C:outside"])
def test_names_that_lead_out_of_the_bundle_are_refused(bundle_copy: Path, name: str) -> None:
    (bundle_copy.parent / "outside").write_text("secret")
    edit(bundle_copy, lambda content: content["files"].update({name: {"bytes": 6, "sha256": "0" * 64}}))
    with pytest.raises(BundleError, match=rf"may only name files inside the bundle(.|\n)*{REPAIR}"):
        open_bundle(bundle_copy)


def test_a_graph_may_not_point_at_an_unlisted_file(bundle_copy: Path) -> None:
    edit(bundle_copy, lambda content: content["graphs"]["text"].update(file="../outside.onnx"))
    with pytest.raises(BundleError, match="must list every graph's file"):
        open_bundle(bundle_copy)


def test_scenes_only_checks_only_what_it_uses(bundle_copy: Path) -> None:
    for name in ("image.onnx", "image.onnx.weights", "masked.onnx"):
        (bundle_copy / name).unlink()
    open_bundle(bundle_copy, scenes_only=True)
    with pytest.raises(BundleError, match="lacks `image"):
        open_bundle(bundle_copy)
    (bundle_copy / "saliency.onnx").unlink()
    with pytest.raises(BundleError, match=r"lacks `saliency\.onnx`"):
        open_bundle(bundle_copy, scenes_only=True)


def test_a_tokenizer_that_passes_its_hash_and_cannot_be_read(bundle_copy: Path) -> None:
    import hashlib

    (bundle_copy / "tokenizer.json").write_text("{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    edit(bundle_copy, lambda content: content["files"].update({"tokenizer.json": {"bytes": 2, "sha256": digest}}))
    with pytest.raises(BundleError, match="its tokenizer or templates cannot be read"):
        Localizer(bundle_copy, device="cpu")
