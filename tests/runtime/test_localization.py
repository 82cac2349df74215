"""The answer to a query: its saliency in the picture's pixels, its plain values, its drawing."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.boxes import find_boxes
from engine.frame import Frame
from engine.saliency import to_picture
from engine.spec import DEFAULT, PAPER, Geometry, Spec
from runtime.errors import PictureError
from runtime.localization import Localization


def answer(**changes: object) -> Localization:
    """An answer on a made-up picture of 30 x 40 pixels."""
    ramp = np.linspace(0, 1, 49, dtype=np.float32).reshape(7, 7)
    fields: dict[str, Any] = {
        "query": "a cat",
        "xyxy": np.array([[1, 2, 30.126, 20], [5, 5, 9, 9]], dtype=np.float32),
        "scores": np.array([0.912345, 0.5], dtype=np.float32),
        "present": True,
        "map": ramp,
        "frame": Frame.fit((30, 40), 224, "squash"),
        "spec": DEFAULT,
        "kept": 12,
        "maps": 2048,
        "margin": 0.0123456789,
        "similarity": 0.25,
        "passes": 2049,
        "picture": np.full((30, 40, 3), 90, dtype=np.uint8),
    }
    return Localization(**{**fields, **changes})


def test_length_and_defaults() -> None:
    assert len(answer()) == 2
    assert answer().preset == "exact"
    assert answer(passes=0).passes == 0


def test_is_frozen_and_short_in_words() -> None:
    found = answer()
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.query = "a dog"  # type: ignore[misc]
    assert repr(found) == "Localization('a cat': present, 2 boxes, best 0.91 at (1, 2, 30, 20); exact)"
    nothing = answer(xyxy=np.zeros((0, 4), np.float32), scores=np.zeros(0, np.float32), present=False)
    assert repr(nothing) == "Localization('a cat': not present, 0 boxes; exact)"


def test_its_boxes_can_be_gone_through() -> None:
    first, second = answer()
    assert (first.label, first.score) == ("a cat", pytest.approx(0.912345))
    assert first.xyxy == pytest.approx((1, 2, 30.126, 20))
    assert second.xyxy == (5, 5, 9, 9)


def test_every_box_has_its_pixels() -> None:
    bright = np.zeros((7, 7), dtype=np.float32)
    bright[1:3, 1:3], bright[5, 4:6] = 1.0, 0.9
    found = answer(map=bright)
    boxes = find_boxes(found.saliency, DEFAULT)
    found = answer(map=bright, xyxy=boxes.xyxy, scores=boxes.scores)
    masks = [box.mask for box in found]
    assert len(masks) == 2
    assert all(mask.shape == (30, 40) and mask.any() for mask in masks)
    assert not (masks[0] & masks[1]).any()
    np.testing.assert_array_equal(masks[0] | masks[1], found.saliency > DEFAULT.threshold * found.saliency.max())
    assert "found" not in repr(next(iter(found)))


@pytest.mark.parametrize("spec", [DEFAULT, PAPER])
@pytest.mark.parametrize("geometry", ["crop", "squash", "letterbox", "stretch"])
def test_saliency_is_the_map_in_the_pictures_pixels(spec: Spec, geometry: Geometry) -> None:
    found = answer(spec=spec, frame=Frame.fit((30, 40), 224, geometry))
    assert found.saliency.shape == (30, 40)
    assert found.saliency.dtype == np.float32
    np.testing.assert_array_equal(found.saliency, to_picture(found.map, found.frame, spec.resize))


def test_saliency_is_computed_once_and_read_only() -> None:
    found = answer()
    assert found.saliency is found.saliency
    with pytest.raises(ValueError, match="read-only"):
        found.saliency[0, 0] = 1


def test_plain_values_survive_json() -> None:
    found = answer()
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["query"] == "a cat"
    assert plain["present"] is True
    assert plain["boxes"][0] == {"xyxy": [1.0, 2.0, 30.13, 20.0], "score": 0.9123}
    assert plain["picture_hw"] == [30, 40]
    assert plain["window_xyxy"] == [0, 0, 40, 30]
    assert plain["margin"] == 0.012346
    assert plain["passes"] == 2049
    assert Spec.from_dict(plain["spec"]) == DEFAULT


def test_plain_values_of_numpy_numbers_and_of_no_number() -> None:
    found = answer(kept=np.int64(3), present=np.bool_(False), margin=-math.inf, similarity=np.float32(math.nan))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (plain["kept"], plain["present"], plain["margin"], plain["similarity"]) == (3, False, None, None)


def test_nothing_found_is_an_empty_answer() -> None:
    found = answer(
        xyxy=np.zeros((0, 4), np.float32),
        scores=np.zeros(0, np.float32),
        present=False,
        map=np.zeros((7, 7), np.float32),
    )
    assert len(found) == 0
    assert not found.saliency.any()
    assert found.to_dict()["boxes"] == []


@pytest.mark.parametrize("ending", [".png", ".jpg", ".JPEG", ".webp"])
def test_save_writes_the_drawing(tmp_path: Path, ending: str) -> None:
    path = answer().save(tmp_path / f"found{ending}")
    with Image.open(path) as image:
        assert image.size == (40, 30)


def test_save_with_and_without_heat(tmp_path: Path) -> None:
    found = answer()
    warm, plain = found.save(str(tmp_path / "warm.png")), found.save(tmp_path / "plain.png", heat=False)
    assert (np.asarray(Image.open(warm)) != np.asarray(Image.open(plain))).any()


def test_save_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"without its picture.*drawing\.draw"):
        answer(picture=None).save(tmp_path / "a.png")
    with pytest.raises(PictureError, match=r"ends in none of \.png"):
        answer().save(tmp_path / "a.txt")
    with pytest.raises(PictureError, match=r"there is no folder .*nowhere.*; make it first"):
        answer().save(tmp_path / "nowhere" / "a.png")
