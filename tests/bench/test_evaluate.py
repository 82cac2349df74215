"""Runs over made data with made maps: figures by hand, the same after a kill, in shards, and from maps that others dumped."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from argparse import Namespace
from pathlib import Path

import cv2
import numpy as np
import pytest

from bench.evaluate import command
from bench.evaluate.answers import FolderAnswers
from bench.evaluate.data import DataError, DataSet, Sample, Thing
from bench.evaluate.figures import figures_of
from bench.evaluate.judge import LEVELS, Kernels, judge
from bench.evaluate.published import TABLES
from bench.evaluate.records import Records, packed, read_records, unpacked
from bench.evaluate.run import Work, run
from bench.evaluate.tables import RECORD, lines_of, measured
from engine.spec import DEFAULT
from tests.bench import layouts_made as made

SPEC = DEFAULT.replace(presence="any", outline="grid")
EVERY = ("boxes", "maxbox", "pixels", "segments", "grid")
KERNELS = Kernels(sides=(0, 3))


def squares(count: int = 6) -> DataSet:
    """Pictures with the square; the last one's truth cannot be read."""

    def read(place: int) -> Sample:
        if place == count - 1:
            raise TypeError("made to fail")
        thing = Thing(0, np.array([made.BOX], np.float64), made.mask())
        return Sample(f"{place}.png", made.HW, (thing,), made.pixels)

    return DataSet("squares", (("square",), ("circle",)), tuple(f"{place}.png" for place in range(count)), read)


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """Perfect maps at the even places; at the odd ones the square's other side is bright."""
    folder = tmp_path / "maps"
    folder.mkdir()
    for place in range(6):
        values = made.mask().astype(np.float64)
        np.save(folder / f"{place}.png.npy", values if place % 2 == 0 else values[:, ::-1])
    return folder


def judged(out: Path, maps: Path, shard: tuple[int, int] = (0, 1), stop_after: int | None = None) -> dict[str, dict[str, object]]:
    records = Records(out, {"made": 1}, shard)

    def tick(done: int, total: int) -> None:
        if done == stop_after:
            raise KeyboardInterrupt

    try:
        run(Work(squares(), FolderAnswers(maps), SPEC, EVERY, KERNELS), records, shard, tick)
    except KeyboardInterrupt:
        pass
    finally:
        records.close()
    return read_records(out)


def figures(records: dict[str, dict[str, object]]) -> dict[str, object]:
    return figures_of({key: one for key, one in records.items() if "skipped" not in one}, KERNELS, 2).to_dict()


def test_figures_by_hand(tmp_path: Path, maps: Path) -> None:
    records = judged(tmp_path / "out", maps)
    assert records["5.png"]["skipped"] == "made to fail"
    found = figures(records)["figures"]
    assert found["gt_known"][0] == found["max_box_acc"][0] == found["max_box_acc_any_0.7"][0] == 0.6  # three of five
    assert found["box_iou"][0] == pytest.approx((3 + 2 / 3) / 5, abs=1e-5)  # the other side's box overlaps by a third
    assert found["gt_known_whole"][0] == 0.0  # 240 of 1200 pixels
    assert found["energy"][0] == pytest.approx((3 + 2 / 2) / 5, abs=1e-5)
    assert found["pointing"][0] == 1.0  # the first of equally bright pixels is one that both sides share
    own, background = 960 / 1440, 4560 / 5040
    assert found["segments_miou"][0] == pytest.approx((own + background) / 2, abs=1e-5)


def test_a_killed_run_goes_on_and_ends_the_same(tmp_path: Path, maps: Path) -> None:
    whole = judged(tmp_path / "whole", maps)
    part = judged(tmp_path / "part", maps, stop_after=3)
    assert len(part) == 3
    file = tmp_path / "part/records-0-of-1.jsonl"
    with file.open("ab") as torn:  # what a process killed in the middle of a line leaves
        torn.write(b'{"key":"3.png","thi')
    assert len(read_records(tmp_path / "part")) == 3
    assert judged(tmp_path / "part", maps) == whole
    assert len(file.read_bytes().splitlines()) == 6


def test_shards_end_the_same(tmp_path: Path, maps: Path) -> None:
    whole = judged(tmp_path / "whole", maps)
    judged(tmp_path / "shards", maps, (1, 2))
    assert judged(tmp_path / "shards", maps, (0, 2)) == whole
    assert figures(judged(tmp_path / "shards", maps, (0, 3))) == figures(whole)  # other shards find nothing left to do


def test_another_run_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    Records(tmp_path, {"spec": 1}).close()
    with pytest.raises(DataError, match="holds a run with another `spec`: 1, asked for 2"):
        Records(tmp_path, {"spec": 2})


def test_two_writers_of_one_shard_are_refused(tmp_path: Path) -> None:
    first = Records(tmp_path, {})
    with pytest.raises(DataError, match="is being written by another process"):
        Records(tmp_path, {})
    first.close()


def test_a_spoilt_line_is_told(tmp_path: Path) -> None:
    (tmp_path / "records-0-of-1.jsonl").write_text('{"key":"a"}\nnonsense\n')
    with pytest.raises(DataError, match="line 2 is no record"):
        read_records(tmp_path)


@pytest.mark.parametrize("array", [np.arange(6).reshape(2, 3), np.zeros((0, 4)), np.array([True, False]), np.float32([[0.1]])])
def test_arrays_come_back(array: np.ndarray) -> None:
    again = unpacked(json.loads(json.dumps(packed(array))))
    np.testing.assert_array_equal(again, array)
    assert again.dtype == array.dtype


def test_dumped_maps_are_taken_back(tmp_path: Path, maps: Path) -> None:
    """Maps dumped in the public layout give the public figures that they gave before."""
    records = Records(tmp_path / "first", {})
    run(Work(squares(), FolderAnswers(maps), SPEC, EVERY, KERNELS, tmp_path / "dump"), records, (0, 1), lambda *_: None)
    records.close()
    first, again = figures(read_records(tmp_path / "first")), figures(judged(tmp_path / "again", tmp_path / "dump"))
    for name in ("max_box_acc", "max_box_acc_v2"):
        assert first["figures"][name] == again["figures"][name]


@pytest.mark.parametrize(
    ("values", "words"), [(np.full((3, 3), 1.5), r"values in \[0, 1\]"), (np.zeros((2, 2, 2)), r"found shape \(2, 2, 2\)")]
)
def test_odd_maps_are_left_out_with_the_reason(values: np.ndarray, words: str, tmp_path: Path, maps: Path) -> None:
    np.save(maps / "0.png.npy", values)
    (maps / "1.png.npy").unlink()
    records = judged(tmp_path / "out", maps)
    assert re.search(words, records["0.png"]["skipped"])
    assert "expected 1.png.npy" in records["1.png"]["skipped"]
    assert "skipped" not in records["2.png"]


def test_the_grid_knows_the_plain_way_and_closes_gaps(maps: Path) -> None:
    sample = squares().read(0)
    values = made.mask().astype(np.float64)
    values[:, 16] = 0  # a gap that a kernel of 3 closes
    np.save(maps / "0.png.npy", values)
    seen = next(FolderAnswers(maps).answers([sample], lambda *_: None))[1]
    table = unpacked(judge(sample, seen, SPEC, ("grid", "pixels"), KERNELS)["things"][0]["grid"])
    assert table.shape == (3, 2, 2, len(LEVELS))
    assert table[1, 0, 0].max() < table[1, 1, 1].max() == pytest.approx(1)


def test_a_whole_run_by_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """ImageNet's layout, maps in a folder, twice into one place: the second run has nothing to do and writes the same."""
    root = made.imagenet(tmp_path / "data")
    for place in range(4):
        (tmp_path / "maps").mkdir(exist_ok=True)
        np.save(tmp_path / "maps" / f"ILSVRC2012_val_{place + 1:08d}.npy", made.mask().astype(np.float64))
    arguments = ["imagenet", "--root", str(root), "--maps", str(tmp_path / "maps"), "--out", str(tmp_path / "out")]
    command.main(arguments)
    first = {name: (tmp_path / "out" / name).read_bytes() for name in ("report.json", "report.md", "report.html")}
    command.main(arguments)
    assert all((tmp_path / "out" / name).read_bytes() == content for name, content in first.items())
    report = json.loads(first["report.json"])
    assert report["figures"]["gt_known"][0] == 1.0
    assert report["counts"]["pictures"] == report["counts"]["of"] == 4
    assert "| VL-Score | 66.93 | 57.20 | 39.50 |" in first["report.md"].decode()
    assert "| **this run** | 100.00 | - | - |" in first["report.md"].decode()
    assert b"data:image/webp" in first["report.html"]
    assert b"http" not in first["report.html"].replace(b"http-equiv", b"")
    assert "GT-known Loc | 100.00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["coco"], "`coco` needs --root, the folder that holds it"),
        (["voc", "--root", "nowhere"], "is not there: expected the folder of the data set"),
        (["world", "--set", "threshold"], "`threshold` must be NAME=VALUE with a switch of the spec"),
        (["world", "--set", "treshold=0.3"], "threshold"),
        (["world", "--split", "tset"], "split `tset` is not in"),
        (["world", "--method", "gem", "--first-files", "1"], "method `gem` is defined for vision transformers alone"),
    ],
)
def test_errors_are_one_line(arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main([*arguments, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 1
    told = capsys.readouterr().err.strip()
    assert words in told
    assert len(told.splitlines()) == 1


def test_the_model_answers_on_the_emoji_world(tmp_path: Path, tiny_vit_bundle: Path) -> None:
    asked = ["world", "--first-files", "3", "--preset", "instant", "--threads", "1", "--out", str(tmp_path / "out")]
    command.main([*asked, "--dump", str(tmp_path / "dump"), "--protocols", "boxes,maxbox,pixels,presence,faithful"])
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["figures"]["top1_cls"][0] > 0.5
    assert report["chosen"]["presence_margin_auc"] > 0.5
    assert report["run"]["preset"] == "instant"
    insertion, deletion = (report["curves"]["faithful"][name] for name in ("insertion", "deletion"))
    assert insertion[-1] == pytest.approx(deletion[0], abs=1e-4)  # the whole picture
    assert report["figures"]["insertion"][0] > report["figures"]["deletion"][0]
    asked[-1] = str(tmp_path / "two")
    command.main([*asked, "--protocols", "boxes", "--classifier", str(tiny_vit_bundle)])
    two = json.loads((tmp_path / "two/report.json").read_text())
    assert two["run"]["classify"] == str(tiny_vit_bundle)
    assert two["figures"]["gt_known"] == report["figures"]["gt_known"]  # boxes are still the first model's
    assert two["figures"]["top1_cls"][0] < 0.5  # what has random weights ranks labels by chance
    dumped = sorted((tmp_path / "dump").rglob("*.npy"))
    assert len(dumped) == report["counts"]["questions"]
    assert np.load(dumped[0]).shape == (224, 224)


def test_a_mask_of_another_size_is_left_out_not_a_crash(maps: Path) -> None:
    sample = squares().read(0)
    odd = dataclasses.replace(sample, things=(Thing(0, np.array([made.BOX], np.float64), np.ones((9, 9), bool)),))
    seen = next(FolderAnswers(maps).answers([sample], lambda *_: None))[1]
    with pytest.raises(DataError, match=r"`0.png` needs masks of \(30, 40\) pixels and has one of \(9, 9\)"):
        judge(odd, seen, SPEC, EVERY, KERNELS)


@pytest.mark.parametrize("pictures", [True, False])
def test_masks_on_the_grid_are_judged_with_and_without_pictures(pictures: bool, tmp_path: Path) -> None:
    """OpenImages: the public file of sizes is empty, and only maps and masks are needed."""
    root = made.openimages(tmp_path / "data")
    if not pictures:
        (root / "OpenImages/test/0bt_c3/one.jpg").unlink()
    (tmp_path / "maps/test/0bt_c3").mkdir(parents=True)
    mask = cv2.resize(made.mask().astype(np.uint8), (224, 224), interpolation=cv2.INTER_NEAREST)
    np.save(tmp_path / "maps/test/0bt_c3/one.jpg.npy", mask.astype(np.float64))
    command.main(["openimages", "--root", str(root), "--maps", str(tmp_path / "maps"), "--out", str(tmp_path / "out")])
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["counts"]["skipped"] == 0
    assert report["figures"]["pxap"][0] == report["figures"]["p_iou"][0] == report["figures"]["gt_known"][0] == 1.0


def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run", interrupted)
    root = made.imagenet(tmp_path / "data")
    with pytest.raises(SystemExit) as stopped:
        command.main(["imagenet", "--root", str(root), "--maps", str(tmp_path), "--out", str(tmp_path / "out")])
    assert stopped.value.code == 130
    assert "the same command goes on where it was" in capsys.readouterr().err


def test_every_table_has_commands_that_are_understood() -> None:
    rates = measured(RECORD)
    assert rates
    for name, table in TABLES.items():
        for line in lines_of(name, table, rates):
            if line.startswith("    python -m bench.evaluate "):
                asked = command.parse(line.split()[3:])
                assert isinstance(asked, Namespace)
                assert asked.dataset in table.datasets
                assert command.spec_of(asked)
        assert all(len(values) == len(table.figures) for _, values in table.rows) or name == "wsdol"
    assert os.path.exists(RECORD)
