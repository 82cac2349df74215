"""The written test set: read back, it tells what was written; written twice, it is the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.world.artwork import Sprites, load_sprites
from bench.world.read import read_split, read_truth
from bench.world.splits import example
from bench.world.truth import from_runs, to_runs
from bench.world.write import COUNTS, write

SMALL = {"val": 3, "wide": 2, "absent": 2}


@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_runs_are_lossless(height: int, width: int, chance: object) -> None:
    mask = np.array([[chance.random() < 0.5 for _ in range(width)] for _ in range(height)])  # type: ignore[attr-defined]
    runs = to_runs(mask)
    assert sum(runs) == mask.size
    assert all(run > 0 for run in runs[1:])
    assert np.array_equal(from_runs(runs, (height, width)), mask)


def test_runs_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="cover 6 pixels"):
        from_runs([2, 4], (2, 2))


def test_written_and_read(sprites: Sprites, tmp_path: Path) -> None:
    write(sprites, tmp_path, SMALL)
    for split, count in SMALL.items():
        found = list(read_split(tmp_path, split))
        assert len(found) == count
        for index, one in enumerate(found):
            drawn = example(sprites, split, index)
            assert (one.caption, one.absent, one.index) == (drawn.caption, drawn.absent, index)
            assert one.pixels.shape == drawn.pixels.shape
            assert np.abs(one.pixels.astype(int) - drawn.pixels).mean() < 12
            for stored, thing in zip(one.things, drawn.things, strict=True):
                assert (stored.noun, stored.box) == (thing.noun, thing.box)
                assert np.array_equal(stored.mask, thing.mask)


def test_written_twice_equal_hashes(sprites: Sprites, tmp_path: Path) -> None:
    first, second = (write(sprites, tmp_path / name, SMALL) for name in ("a", "b"))
    assert first["sha256"] == second["sha256"]
    assert (tmp_path / "a/truth.json").read_bytes() == (tmp_path / "b/truth.json").read_bytes()


def test_truth_is_plain_json(sprites: Sprites, tmp_path: Path) -> None:
    write(sprites, tmp_path, {"val": 1})
    truth = json.loads((tmp_path / "truth.json").read_text())
    assert truth == read_truth(tmp_path)
    assert set(truth["scenes"][0]) == {"file", "split", "index", "hw", "caption", "absent", "things"}


def test_reading_says_what_is_wrong(sprites: Sprites, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="write one with"):
        read_truth(tmp_path)
    write(sprites, tmp_path, {"val": 1})
    with pytest.raises(ValueError, match="split `test`"):
        list(read_split(tmp_path, "test"))
    (tmp_path / "truth.json").write_text('{"schema": 9}')
    with pytest.raises(ValueError, match="schema 9"):
        read_truth(tmp_path)


def test_missing_sprites_say_how_to_draw_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m bench\.world\.artwork"):
        load_sprites(tmp_path / "none.npz")


def test_counts_hold_every_split() -> None:
    assert COUNTS["test"] >= 500, "600 pictures keep the standard error of a share near 90 % below 1.5 points"
