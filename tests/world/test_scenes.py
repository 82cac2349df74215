"""Scenes: the same for the same seed, and true to what they say they show."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from bench.world.artwork import SEEN, UNSEEN, Sprites
from bench.world.backgrounds import SEEN as SEEN_FAMILIES
from bench.world.backgrounds import SEEN_PHOTOS, UNSEEN_PHOTOS
from bench.world.backgrounds import UNSEEN as UNSEEN_FAMILIES
from bench.world.captions import with_article
from bench.world.layout import picture_hw, plan
from bench.world.nouns import nouns
from bench.world.paint import paint, paint_with_truth
from bench.world.splits import RECIPES, box_of, example, generator

SPLITS = tuple(RECIPES)


def digest(sprites: Sprites, split: str, seed: int = 0, count: int = 4) -> str:
    """One hash over pictures, boxes, masks and captions of a few scenes."""
    found = hashlib.sha256()
    for index in range(count):
        one = example(sprites, split, index, seed)
        found.update(one.pixels.tobytes() + repr((one.caption, one.absent)).encode())
        for thing in one.things:
            found.update(repr((thing.noun, thing.box)).encode() + thing.mask.tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("split", SPLITS)
def test_same_seed_same_bytes(sprites: Sprites, split: str) -> None:
    assert digest(sprites, split) == digest(sprites, split)
    assert digest(sprites, split) != digest(sprites, split, seed=1)


def test_splits_share_no_random_numbers() -> None:
    states = {generator(split, index).bit_generator.state["state"]["state"] for split in SPLITS for index in range(50)}
    assert len(states) == 50 * len(SPLITS)


@pytest.mark.parametrize("split", SPLITS)
def test_truth_is_what_the_picture_shows(sprites: Sprites, split: str) -> None:
    for index in range(6):
        one = example(sprites, split, index)
        height, width = one.pixels.shape[:2]
        assert one.pixels.dtype == np.uint8
        assert one.things
        covered = np.zeros((height, width), int)
        for thing in one.things:
            x0, y0, x1, y1 = thing.box
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            assert thing.box == box_of(thing.mask)
            assert thing.mask[y0:y1, x0:x1].sum() == thing.mask.sum() > 0
            covered += thing.mask
        assert covered.max() == 1, "a pixel belongs to one object at most"


@pytest.mark.parametrize("split", SPLITS)
def test_captions_name_what_is_there(sprites: Sprites, split: str) -> None:
    for index in range(12):
        one = example(sprites, split, index)
        held = {thing.noun for thing in one.things}
        assert len(held) == len(one.things)
        named = [noun for noun in held if noun in one.caption]
        assert named
        rest = one.caption
        for noun in sorted(named, key=len, reverse=True):
            rest = rest.replace(noun, "")
        # What is left of a caption is its wording: no other noun hides in it.
        others = {noun for noun in nouns() if f" {noun} " in f" {rest.replace(',', ' ').replace('.', ' ')} "}
        assert not others - held


def test_masks_lie_on_changed_pixels(sprites: Sprites) -> None:
    recipe = RECIPES["val"]
    scene = plan(generator("val", 3), sprites, recipe, (200, 260), (1, 2))
    painted = paint_with_truth(np.random.default_rng(5), sprites, scene, "seen")
    bare = type(scene)(scene.hw, (), scene.cover)
    empty = paint(np.random.default_rng(5), sprites, bare, "seen")
    changed = (painted.pixels != empty).any(axis=2)
    union = np.logical_or.reduce(painted.masks)
    assert changed[union].mean() > 0.98
    assert (changed & ~union).mean() < 0.03


@pytest.mark.parametrize(("split", "counts"), [("pairs", {2}), ("crowd", {3, 4}), ("test", {1, 2})])
def test_counts(sprites: Sprites, split: str, counts: set[int]) -> None:
    assert {len(example(sprites, split, index).things) for index in range(20)} == counts


def test_wide_pictures_are_two_to_one(sprites: Sprites) -> None:
    ratios = {round(np.divide(*example(sprites, "wide", index).pixels.shape[:2]), 1) for index in range(12)}
    assert ratios == {0.5, 2.0}


def test_absent_things_are_not_there(sprites: Sprites) -> None:
    for index in range(40):
        one = example(sprites, "absent", index)
        assert one.absent
        assert not set(one.absent) & {thing.noun for thing in one.things}
        assert set(one.absent) <= set(nouns())


def test_unseen_material_is_never_trained_on() -> None:
    assert not set(SEEN_PHOTOS) & set(UNSEEN_PHOTOS)
    assert not set(SEEN_FAMILIES) & set(UNSEEN_FAMILIES)
    assert RECIPES["unseen-artwork"].artwork == UNSEEN
    assert RECIPES["unseen-background"].backgrounds == "unseen"
    assert not set(UNSEEN) & set(SEEN)
    for split in SPLITS:
        if split != "unseen-artwork":
            assert set(RECIPES[split].artwork) <= set(SEEN)
        assert RECIPES[split].backgrounds == ("unseen" if split == "unseen-background" else "seen")


def test_a_squashed_picture_shows_the_same_scene(sprites: Sprites) -> None:
    rng = generator("train", 7)
    recipe = RECIPES["train"]
    scene = plan(rng, sprites, recipe, picture_hw(rng, recipe, 192 * 192))
    assert paint(np.random.default_rng(1), sprites, scene, "seen", (64, 64)).shape == (64, 64, 3)


def test_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match="`tset` is unknown"):
        generator("tset", 0)


def test_articles() -> None:
    phrases = [with_article(noun) for noun in ("owl", "unicorn", "umbrella", "grapes", "ice cream")]
    assert phrases == ["an owl", "a unicorn", "an umbrella", "some grapes", "an ice cream"]


def test_enough_nouns() -> None:
    assert len(nouns()) >= 200
    assert len(set(nouns())) == len(nouns())
