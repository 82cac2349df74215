"""Opening bundles: whatever is wrong with one is found before anything is loaded, and the repair is told."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.manifest import Manifest
from export.onnx_files import signature
from runtime import BundleError, Localizer
from runtime.bundles import SHIPPED, find_bundle, open_bundle, read_manifest
from runtime.graph_files import GraphFileError, read_graph

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
    (bundle_copy / "tokenizer.json").write_text("{}")
    digest = hashlib.sha256(b"{}").hexdigest()
    edit(bundle_copy, lambda content: content["files"].update({"tokenizer.json": {"bytes": 2, "sha256": digest}}))
    with pytest.raises(BundleError, match="its tokenizer or templates cannot be read"):
        Localizer(bundle_copy, device="cpu")


def reseal(folder: Path, name: str, data: bytes) -> None:
    """Replace a file as a forger would: its size and hash in the manifest follow."""
    (folder / name).write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    edit(folder, lambda content: content["files"].update({name: {"bytes": len(data), "sha256": digest}}))


def test_the_manifest_can_be_pinned(bundle_copy: Path) -> None:
    pinned = open_bundle(bundle_copy).sha256
    assert pinned == hashlib.sha256((bundle_copy / "manifest.json").read_bytes()).hexdigest()
    assert Localizer(bundle_copy, device="cpu", sha256=pinned.upper()).info["sha256"] == pinned
    edit(bundle_copy, lambda content: content.update(presence=0.5))
    open_bundle(bundle_copy)
    with pytest.raises(BundleError, match=f"but '{pinned}' was asked for"):
        Localizer(bundle_copy, device="cpu", sha256=pinned)


@pytest.mark.parametrize("name", ["text.onnx.weights", "image.onnx.weights", "masked.onnx"])
def test_a_file_replaced_after_opening_is_never_used(bundle_copy: Path, name: str) -> None:
    localizer = Localizer(bundle_copy, device="cpu", threads=1)
    fresh = bundle_copy / "fresh"
    fresh.write_bytes((bundle_copy / name).read_bytes())  # even of the same content: it might have been another
    fresh.replace(bundle_copy / name)
    with pytest.raises(BundleError, match=rf"`{name}` was built anew or altered while the bundle was open; open a new Localizer"):
        localizer(np.zeros((20, 30, 3), np.uint8), "a cat")


@pytest.mark.parametrize("name", ["templates.json", "tokenizer.json", "image.onnx.weights"])
def test_what_the_manifest_does_not_list_is_not_used(bundle_copy: Path, name: str) -> None:
    edit(bundle_copy, lambda content: content["files"].pop(name))
    with pytest.raises(BundleError, match=r"does not list|a file that the manifest does not list"):
        Localizer(bundle_copy, device="cpu")


@pytest.mark.parametrize("graph", ["image", "masked", "text", "saliency"])
def test_a_bundle_without_a_graph_that_it_needs(bundle_copy: Path, graph: str) -> None:
    edit(bundle_copy, lambda content: content["graphs"].pop(graph))
    with pytest.raises(BundleError, match=f"contradicts itself: the graph `{graph}` is missing"):
        open_bundle(bundle_copy)


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 31},
        {"slots": 3},
        {"dim": 65},
    ],
)
def test_sizes_that_are_not_those_of_the_graphs(bundle_copy: Path, change: dict[str, int]) -> None:
    edit(bundle_copy, lambda content: content.update(change))
    with pytest.raises(BundleError, match=r"contradicts itself: the graph `\w+` must take"):
        open_bundle(bundle_copy)


def test_a_signature_that_is_not_the_files(bundle_copy: Path) -> None:
    def lie(content: dict[str, Any]) -> None:
        content["batch"] = 16
        for name, key in (("which", "inputs"), ("maps", "inputs"), ("embeddings", "outputs")):
            content["graphs"]["masked"][key][name][1][0] = 16

    edit(bundle_copy, lie)
    with pytest.raises(BundleError, match=r"`masked\.onnx` cannot be used: its inputs are .* but the manifest says"):
        open_bundle(bundle_copy)


def loop_forever(model: onnx.ModelProto) -> None:
    body = onnx.helper.make_graph([], "body", [], [])
    model.graph.node.append(onnx.helper.make_node("Loop", ["", ""], [], body=body))


def foreign_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(onnx.helper.make_node("PyOp", [], ["made"], domain="com.evil"))


def local_function(model: onnx.ModelProto) -> None:
    model.functions.append(onnx.helper.make_function("f", "f", [], [], [], []))


def outside_weights(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "/etc/passwd"


def beyond_the_end(model: onnx.ModelProto) -> None:
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "offset":
                entry.value = "999999999999"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (loop_forever, "a graph inside of a node"),
        (foreign_operator, r"operators that no bundle is made of \(com\.evil\.PyOp\)"),
        (local_function, "functions"),
        (outside_weights, "lie in `/etc/passwd`, a file that the manifest does not list"),
        (beyond_the_end, "beyond the end of"),
    ],
)
def test_graphs_that_no_build_makes(bundle_copy: Path, change: Callable[[onnx.ModelProto], None], words: str) -> None:
    model = onnx.load(bundle_copy / "masked.onnx", load_external_data=False)
    change(model)
    reseal(bundle_copy, "masked.onnx", model.SerializeToString())
    with pytest.raises(BundleError, match=rf"the graph `masked\.onnx` cannot be used: .*{words}"):
        open_bundle(bundle_copy)


@given(st.binary(max_size=200), st.integers(0, 5000))
def test_bytes_of_any_kind_are_a_graph_or_refused(tail: bytes, cut: int) -> None:
    data = (SHIPPED / "demo-rn" / "saliency.onnx").read_bytes()
    with contextlib.suppress(GraphFileError):
        read_graph(data[:cut] + tail)
    with contextlib.suppress(GraphFileError):
        read_graph(tail)


def test_graphs_are_read_as_onnx_reads_them(tiny_bundle: Path) -> None:
    for path in tiny_bundle.glob("*.onnx"):
        found, theirs = read_graph(path.read_bytes()), onnx.load(path, load_external_data=False)
        assert found.operators == {node.op_type for node in theirs.graph.node}
        assert (found.inputs, found.outputs) == (signature(theirs.graph.input), signature(theirs.graph.output))
        stored = [{e.key: e.value for e in tensor.external_data} for tensor in theirs.graph.initializer if tensor.external_data]
        assert found.external == [(entry["location"], int(entry["offset"]), int(entry["length"])) for entry in stored]


@pytest.mark.parametrize("depth", [100_000])
def test_a_manifest_nested_without_end(bundle_copy: Path, depth: int) -> None:
    (bundle_copy / "manifest.json").write_text("[" * depth)
    with pytest.raises(BundleError, match="cannot be used"):
        open_bundle(bundle_copy)


@pytest.mark.parametrize("model", ["", " ", 3, b"RN50", "~nobody-of-that-name/x", "x" * 5000, "\0"])
def test_models_that_are_no_name(model: Any) -> None:
    with pytest.raises(BundleError):
        find_bundle(model)
