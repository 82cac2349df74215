"""The command on a few scenes drawn for the test, with a small random model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rich.console import Console

from bench.accuracy.command import main, measure
from bench.accuracy.encode import Shelf, seen
from bench.accuracy.judge import spread
from bench.accuracy.lab import Lab
from bench.accuracy.options import SPLITS, Options, parse
from bench.accuracy.saliency import maker
from bench.world.artwork import SEEN, UNSEEN, Sprites
from bench.world.nouns import nouns
from bench.world.write import write
from engine.boxes import find_boxes
from runtime import Localizer, Query
from runtime.answers import Answerer

COUNT = 2


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Discs of many colours on the backgrounds of the world, two pictures of every split."""
    rng = np.random.default_rng(0)
    sides, count = (64, 32, 16), len(nouns())
    full = np.zeros((2 * count, 64, 64, 4), np.uint8)
    for sprite in full:
        shade = rng.integers(0, 256, 3).tolist()
        cv2.ellipse(sprite, (32, 32), (30, int(rng.integers(12, 30))), 0, 0, 360, (*shade, 255), -1)
    levels = tuple(np.stack([cv2.resize(sprite, (side, side)) for sprite in full]) for side in sides)
    sprites = Sprites(levels, np.tile(np.arange(count), 2), np.repeat([0, len(SEEN)], count), SEEN + UNSEEN)
    folder = tmp_path_factory.mktemp("pictures")
    write(sprites, folder, dict.fromkeys(SPLITS, COUNT))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scenes")


def run(options: Options) -> dict[str, Any]:
    return measure(options, Console(quiet=True)).to_dict()


def test_the_whole_command(
    pictures: Path, cache: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = ["--json", str(tmp_path / "figures.json"), "--plots", str(tmp_path / "plots")]
    main(["--model", str(tiny_bundle), "--data", str(pictures), "--limit", "1", "--cache", str(cache), *files])
    shown = capsys.readouterr().out
    for words in ("GT-known", "chosen on `val`", "geometry", "other contrasts", "present or absent", "best paper"):
        assert words in shown
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["about"]["nouns"] == len(nouns())
    assert [line["split"] for line in found["splits"]] == [*np.repeat(SPLITS, 2), "test"]
    assert found["search"]["chosen"]["name"] == "chosen"
    assert found["search"]["paper"]["chosen"]["geometry"] == "stretch"
    assert [line["spec"]["geometry"] for line in found["geometries"]] == ["squash", "letterbox", "crop", "stretch"]
    for line in found["splits"]:
        for value, low, high in (numbers for numbers in line.values() if isinstance(numbers, list)):
            assert 0 <= low <= high <= 1
            assert 0 <= value <= 1
    drawn = {path.name for path in (tmp_path / "plots").iterdir()}
    assert drawn == {"splits.png", "threshold.png", "temperature.png", "presence.png", "best.png", "worst.png"}


def test_two_runs_agree(pictures: Path, tiny_bundle: Path) -> None:
    options = Options(str(tiny_bundle), "default", pictures, ("val", "absent"), sweep=False)
    first, second = run(options), run(options)
    for found in (first, second):
        del found["seconds"]
    assert first == second
    assert first["search"] is None
    assert first["about"]["passes"] > 0


def test_encoded_pictures_are_kept(pictures: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    options = Options(str(tiny_bundle), "default", pictures, ("pairs",), sweep=False, cache=tmp_path)
    first, again = run(options), run(options)
    assert again["about"]["passes"] == 0
    assert again["splits"] == first["splits"]


def test_sheets_say_what_the_localizer_says(pictures: Path, cache: Path, tiny_bundle: Path) -> None:
    """The numpy way through a sheet gives the boxes that users get, whatever the switches."""
    lab = Lab(Options(str(tiny_bundle), "default", pictures), cache, quiet)
    for number, changes in enumerate(
        ({}, {"combine": "masks", "contrast": 0.7, "temperature": 0.2}, {"geometry": "crop", "outline": "grid"})
    ):
        spec = lab.spec.replace(**changes)
        pixels = lab.examples("wide")[0].pixels
        sheet = lab.sheets("wide", spec.geometry)[0]
        localizer = Localizer(tiny_bundle, device="cpu", spec=spec, threads=2)
        scene = localizer.encode(pixels)
        planes = spread(sheet, maker(spec, lab.logit_scale)(sheet, sheet.asked), spec)
        for noun, mine in zip(sheet.asked, planes, strict=True):
            answer = localizer.locate(scene, nouns()[noun])
            np.testing.assert_allclose(mine, answer.saliency, atol=2e-4, err_msg=str(number))
            np.testing.assert_allclose(find_boxes(mine, spec).xyxy, answer.xyxy, atol=1)
            assert sheet.similarity[noun] == pytest.approx(answer.similarity, abs=1e-5)
            assert sheet.scores[noun].max() == pytest.approx(answer.margin, abs=1e-5)


def test_squares_are_encoded_once_for_all_geometries(tiny_bundle: Path, tmp_path: Path) -> None:
    square, tall = np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)
    assert {seen(square, geometry) for geometry in ("squash", "crop", "letterbox", "stretch")} == {"squash"}
    assert [seen(tall, geometry) for geometry in ("squash", "stretch")] == ["squash", "crop"]
    shelf = Shelf(Localizer(tiny_bundle, device="cpu", threads=2), tmp_path)
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (48, 32, 3), dtype=np.uint8)
    told: list[tuple[int, int]] = []
    shelf.fill([pixels], "crop", lambda done, total: told.append((done, total)))
    shelf.fill([pixels], "stretch", lambda done, total: told.append((done, total)))
    assert told == [(1, 1)]
    assert shelf.load(pixels, "stretch").frame.geometry == "stretch"
    assert (shelf.load(pixels, "crop").maps == shelf.load(pixels, "stretch").maps).all()


def test_other_templates_give_other_scores(pictures: Path, cache: Path, tiny_bundle: Path) -> None:
    lab = Lab(Options(str(tiny_bundle), "default", pictures), cache, quiet)
    plain, paper = (lab.sheets("val", "squash", templates)[0] for templates in ("plain", "an image of a {}."))
    assert np.abs(plain.scores - paper.scores).max() > 0
    assert (plain.classes == paper.classes).all()
    query = Query((nouns()[0],), ("an image of a {}.",))
    scene = lab.shelf.load(lab.examples("val")[0].pixels, "squash")
    text = lab.localizer.text.embed([query])
    answerer: Answerer = lab.localizer.answerer
    assert answerer.answer(scene, [query], text)[0].similarity == pytest.approx(float(paper.similarity[0]), abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--splits", "val,train"], "split `train` is unknown"),
        (["--limit", "0"], "not a whole number above 0"),
        (["--spec", "best"], "invalid choice"),
    ],
)
def test_bad_options_are_refused(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)
    assert words in capsys.readouterr().err


def test_what_is_missing_is_told_in_one_line(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["--model", "no-such-model", "--data", str(tmp_path)], "no bundle named `no-such-model`"),
        (["--model", str(tiny_bundle), "--data", str(tmp_path)], "holds no truth.json.gz"),
    ):
        with pytest.raises(SystemExit, match="1"):
            main(arguments)
        assert words in capsys.readouterr().err


def test_defaults_cover_every_split() -> None:
    options = parse([])
    assert options.splits == SPLITS
    assert (options.sweep, options.variants, options.limit, options.model) == (True, True, None, None)


def quiet(doing: str):  # noqa: ANN201
    """A bar that shows nothing."""
    from contextlib import nullcontext

    return nullcontext(lambda done, total: None)
