from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest

from engine.manifest import SCHEMA, Manifest, ManifestError, fingerprint

HASH = "0" * 64


def sample() -> dict[str, Any]:
    """A complete manifest, as its JSON file would read."""
    tensor = ["float32", [8, 7, 7]]
    names = ("image", "masked", "text", "saliency")
    arrays = {"inputs": {"x": tensor}, "outputs": {"y": tensor}}
    graphs = {name: {"file": f"{name}.onnx", **arrays} for name in names}
    files = [graph["file"] for graph in graphs.values()]
    files += ["image.onnx.data", "tokenizer.json", "templates.json", "NOTICE"]
    return {
        "schema": SCHEMA,
        "backbone": "tiny",
        "weights": {"tag": "random", "source": "seed 0", "sha256": HASH, "licence": "none", "trained": False},
        "image": {"side": 32, "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "resample": "bicubic"},
        "maps": {
            "source": "activations",
            "layer": "layer4",
            "raw": 64,
            "count": 64,
            "height": 7,
            "width": 7,
            "groups": 0,
            "components": 0,
        },
        "masks": {"align": "corners", "order": "upsample-first", "eps": 1e-7},
        "text": {"context": 77, "batch": 4},
        "dim": 16,
        "logit_scale": 100,
        "batch": 8,
        "slots": 2,
        "precision": "fp32",
        "opset": 17,
        "graphs": graphs,
        "files": {name: {"bytes": 10, "sha256": HASH} for name in files},
        "built_with": {"numpy": "2"},
        "parity": {"embedding": 1e-6, "note": ["any", 1]},
        "inputs_hash": HASH,
        "created": "2026-01-01T00:00:00Z",
    }


def changed(path: str, value: object) -> dict[str, Any]:
    """The sample with the value at a path like `maps/count` replaced."""
    data = sample()
    *folders, last = path.split("/")
    place = data
    for folder in folders:
        place = place[folder]
    place[last] = value
    return data


def test_round_trip_through_json() -> None:
    manifest = Manifest.from_dict(sample())
    assert manifest.graphs["masked"].inputs["x"] == ("float32", (8, 7, 7))
    assert manifest.logit_scale == 100.0
    assert Manifest.from_dict(json.loads(json.dumps(manifest.to_dict()))) == manifest
    assert manifest.to_dict() == {**sample(), "presence": 0.0, "nouns": [], "methods": {}}


def test_input_is_not_changed() -> None:
    data = sample()
    before = copy.deepcopy(data)
    Manifest.from_dict(data)
    assert data == before


@pytest.mark.parametrize("field", sorted(sample().keys() - {"schema"}))
def test_every_field_is_needed(field: str) -> None:
    data = sample()
    del data[field]
    with pytest.raises(ManifestError, match=rf"`manifest` lacks the field\(s\) `{field}`; rebuild"):
        Manifest.from_dict(data)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("colour", 1, "`manifest` has unknown field(s) `colour`"),
        ("maps/extra", 1, "`manifest.maps` has unknown field(s) `extra`"),
        ("dim", "16", "`manifest.dim` must be a whole number, found '16' (str)"),
        ("weights/trained", "no", "`manifest.weights.trained` must be true or false"),
        ("image/mean", [0.5, 0.5], "`manifest.image.mean` must have 3 entries, found 2"),
        ("image/resample", "nearest", "`manifest.image.resample` must be one of `bicubic`, `bilinear`"),
        ("masks/align", "edges", "`manifest.masks.align` must be one of"),
        ("graphs/image/inputs", {"x": ["u8"]}, "`manifest.graphs.image.inputs.x` must have 2 entries"),
        ("graphs", [], "`manifest.graphs` must hold named fields"),
        ("batch", 0, "`manifest.batch` must be above 0 and below 1e+09, found 0"),
        ("maps/height", -7, "`manifest.maps.height` must be above 0 and below 1e+09, found -7"),
        ("maps/count", 63, "`manifest.maps.count` must be 64 for these groups, found 63"),
        ("graphs/image/file", "other.onnx", "`manifest.files` must list every graph's file, `other.onnx`"),
    ],
)
def test_faults_are_named(path: str, value: object, message: str) -> None:
    with pytest.raises(ManifestError, match=re.escape(message)):
        Manifest.from_dict(changed(path, value))


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "..\\b", "C:b", ""])
def test_files_stay_inside_the_bundle(name: str) -> None:
    with pytest.raises(ManifestError, match="may only name files inside the bundle"):
        Manifest.from_dict(changed("files", {**sample()["files"], name: {"bytes": 1, "sha256": HASH}}))


def test_component_maps_count() -> None:
    data = changed("maps/groups", 4)
    data["maps"].update(components=12, count=48, raw=3072)
    assert Manifest.from_dict(data).maps.count == 48


def test_newer_schema_says_what_to_do() -> None:
    with pytest.raises(ManifestError, match=r"newer vlscore \(schema 3, this one reads 1\): update, or"):
        Manifest.from_dict({"schema": 3, "anything": "else"})


@pytest.mark.parametrize("data", [None, [], {}, {"schema": "1"}, {"schema": True}, {"schema": 0}])
def test_not_a_manifest(data: object) -> None:
    with pytest.raises(ManifestError, match=r"`manifest\.schema` must be a whole number above 0"):
        Manifest.from_dict(data)


def test_halves() -> None:
    manifest = Manifest.from_dict(sample())
    assert manifest.image_files == ("image.onnx", "image.onnx.data", "masked.onnx")
    assert manifest.text_files == ("saliency.onnx", "templates.json", "text.onnx", "tokenizer.json")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("files/image.onnx/sha256", "1" * 64),
        ("files/image.onnx.data/sha256", "1" * 64),
        ("files/masked.onnx/sha256", "1" * 64),
        ("maps/layer", "layer3"),
        ("masks/eps", 1e-6),
        ("image/resample", "bilinear"),
    ],
)
def test_fingerprint_follows_the_image_half(path: str, value: object) -> None:
    assert fingerprint(Manifest.from_dict(changed(path, value))) != fingerprint(Manifest.from_dict(sample()))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("files/text.onnx/sha256", "1" * 64),
        ("files/saliency.onnx/sha256", "1" * 64),
        ("created", "2027-01-01T00:00:00Z"),
        ("parity", {}),
    ],
)
def test_fingerprint_ignores_the_rest(path: str, value: object) -> None:
    assert fingerprint(Manifest.from_dict(changed(path, value))) == fingerprint(Manifest.from_dict(sample()))


def test_a_margin_is_kept_and_an_older_manifest_has_none() -> None:
    data = sample()
    assert Manifest.from_dict(data).presence == 0.0
    again = Manifest.from_dict({**data, "presence": 0.2})
    assert Manifest.from_dict(again.to_dict()).presence == 0.2
    with pytest.raises(ManifestError, match=r"manifest\.presence"):
        Manifest.from_dict({**data, "presence": -0.2})
