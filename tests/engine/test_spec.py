from __future__ import annotations

import dataclasses
import json
import re

import pytest

from engine.spec import DEFAULT, PAPER, Spec, named_spec


def test_presets_by_name() -> None:
    assert named_spec("default") is DEFAULT
    assert named_spec("paper") is PAPER
    with pytest.raises(ValueError, match=r"`spec` must be one of `default`, `paper`, found 'papr'"):
        named_spec("papr")


def test_paper_is_the_published_setting() -> None:
    assert (PAPER.geometry, PAPER.resize, PAPER.order) == ("stretch", "mirror", "raster")
    assert (PAPER.score_space, PAPER.temperature) == ("cosine", 1.0)
    assert (PAPER.mask_align, PAPER.mask_order, PAPER.base) == ("corners", "upsample-first", "mean")
    assert (PAPER.combine, PAPER.contrast) == ("raw", 0.0)
    assert (PAPER.threshold, PAPER.connectivity, PAPER.min_area) == (0.6, 4, 1e-3)


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("geometry", "zoom", "one of `crop`, `squash`, `letterbox`, `stretch`"),
        ("mask_align", "edges", "one of `corners`, `centers`"),
        ("mask_order", "", "one of `upsample-first`, `normalise-first`"),
        ("base", "white", "one of `mean`, `black`"),
        ("score_space", "prob", "one of `cosine`, `logit`"),
        ("combine", "both", "one of `raw`, `masks`"),
        ("resize", "wrap", "one of `clamp`, `mirror`"),
        ("connectivity", 6, "one of `4`, `8`"),
        ("order", "size", "one of `raster`, `score`"),
        ("name", " ", "text that is not blank"),
        ("temperature", 0, "from 1e-6 to 1e6"),
        ("temperature", float("inf"), "a finite number"),
        ("contrast", -0.1, "from 0 to 1e6"),
        ("threshold", 1.0, "at least 0 and below 1"),
        ("threshold", "high", "a number"),
        ("interpolation", "cubic", "one of `nearest`, `bilinear`, `bicubic`"),
        ("cut", "auto", "one of `peak`, `mean`, `value`, `otsu`"),
        ("find", "boxes", "one of `parts`, `contours`, `rectangle`"),
        ("keep", "one", "one of `all`, `largest`"),
        ("dilate", 41, "at least 0 and below 1"),
        ("erode", -0.1, "at least 0 and below 1"),
        ("min_area", -1e-9, "at least 0 and below 1"),
    ],
)
def test_bad_values_are_refused_by_name(field: str, value: object, allowed: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"`{field}` must be {allowed}")):
        Spec(**{field: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=field):
        DEFAULT.replace(**{field: value})


def test_temperature_in_cosine_units() -> None:
    assert PAPER.tau(100.0) == 1.0
    assert Spec(score_space="logit", temperature=2.0).tau(100.0) == pytest.approx(0.02)
    with pytest.raises(ValueError, match="`logit_scale` must be above 0"):
        PAPER.tau(0.0)


def test_replace_copies() -> None:
    changed = PAPER.replace(threshold=0.55)
    assert changed.threshold == 0.55
    assert changed.replace(threshold=0.6) == PAPER
    with pytest.raises(ValueError, match=r"unknown field\(s\) `treshold`"):
        PAPER.replace(treshold=0.5)


@pytest.mark.parametrize("spec", [DEFAULT, PAPER])
def test_round_trip_through_json(spec: Spec) -> None:
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_from_dict_fills_defaults() -> None:
    assert Spec.from_dict({}) == DEFAULT


def test_frozen_and_hashable() -> None:
    assert len({DEFAULT, Spec(), PAPER}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULT.name = "other"  # type: ignore[misc]


def test_whole_numbers_become_floats() -> None:
    assert type(Spec(temperature=2).temperature) is float
