"""The written test set: read back, it tells what was written; written twice, it is the same."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.world.artwork import Sprites, load_sprites
from bench.world.read import PICTURES, TRUTH, read_split, read_truth
from bench.world.splits import example
from bench.world.truth import from_runs, to_runs
from bench.world.write import COUNTS, write, write_missing

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
    assert (tmp_path / "a" / TRUTH).read_bytes() == (tmp_path / "b" / TRUTH).read_bytes()


def test_truth_is_packed_json(sprites: Sprites, tmp_path: Path) -> None:
    write(sprites, tmp_path, {"val": 1})
    truth = json.loads(gzip.decompress((tmp_path / TRUTH).read_bytes()))
    assert truth == read_truth(tmp_path)
    assert set(truth["scenes"][0]) == {"file", "sha256", "split", "index", "hw", "caption", "absent", "things"}


def test_reading_says_what_is_wrong(sprites: Sprites, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="write one with"):
        read_truth(tmp_path)
    write(sprites, tmp_path, {"val": 1})
    with pytest.raises(ValueError, match="split `test`"):
        list(read_split(tmp_path, "test"))
    (tmp_path / TRUTH).write_bytes(gzip.compress(b'{"schema": 9}'))
    with pytest.raises(ValueError, match="schema 9"):
        read_truth(tmp_path)


def test_missing_pictures_are_drawn_as_they_were(sprites: Sprites, tmp_path: Path) -> None:
    write(sprites, tmp_path, SMALL)
    whole = {file: file.read_bytes() for file in tmp_path.rglob("*.webp")}
    for file in (tmp_path / "wide").iterdir():
        file.unlink()
    (tmp_path / "wide").rmdir()
    (tmp_path / "val/0001.webp").unlink()
    with pytest.raises(FileNotFoundError, match=r"1 of 3 pictures of split `val` are not in .* --missing"):
        list(read_split(tmp_path, "val"))
    assert write_missing(sprites, tmp_path) == 3
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.webp")} == whole
    assert write_missing(sprites, tmp_path) == 0


def test_a_picture_that_comes_out_different_is_refused(sprites: Sprites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(sprites, tmp_path, {"val": 1})
    (tmp_path / "val/0000.webp").unlink()
    monkeypatch.setattr("bench.world.write.QUALITY", 60)
    with pytest.raises(ValueError, match=r"`val/0000\.webp` was drawn, and is not the picture"):
        write_missing(sprites, tmp_path)
    assert not (tmp_path / "val/0000.webp").exists()


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_kept_pictures_are_those_of_the_truth(split: str) -> None:
    entries = [entry for entry in read_truth(PICTURES)["scenes"] if entry["split"] == split]
    assert len(entries) == COUNTS[split]
    for entry in entries:
        assert hashlib.sha256((PICTURES / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]


def test_missing_sprites_say_how_to_draw_them(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"python -m bench\.world\.artwork"):
        load_sprites(tmp_path / "none.npz")


def test_counts_hold_every_split() -> None:
    assert COUNTS["test"] >= 500, "600 pictures keep the standard error of a share near 90 % below 1.5 points"
