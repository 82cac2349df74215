"""The command `locate` for folders and videos: one table, lists, crops, going on; and the group of commands around it."""

from __future__ import annotations

import csv
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from runtime.cli import aliases, inputs
from runtime.cli.app import app
from runtime.cli.report import Report
from runtime.errors import PictureError
from runtime.videos import read_frames
from tests.runtime.samples import noise
from tests.runtime.test_cli import Fake, fake, folder, read, run

__all__ = ["fake", "folder"]


@pytest.fixture
def photos(folder: Path) -> Path:
    """Six pictures, one of them broken, and none that is named like an output."""
    place = folder / "photos"
    place.mkdir()
    for number in range(5):
        Image.fromarray(noise(30, 40 + number)).save(place / f"{number}.png")
    (place / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 that is no picture")
    return place


@pytest.fixture
def film(folder: Path) -> Path:
    """Three seconds of a video, at ten frames a second, that grow brighter."""
    path = folder / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for number in range(30):
        writer.write(np.full((48, 64, 3), 8 * number, np.uint8))
    writer.release()
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.usefixtures("photos")
def test_a_folder_is_one_table_with_what_was_found_first() -> None:
    result = run("photos", "a unicorn", "cats")
    assert result.exit_code == 1
    words = " ".join(result.stdout.split())
    assert words.startswith("picture a unicorn cats")
    assert result.stdout.count("picture ") == 1
    assert "photos/0.png - 0.75 x9" in words
    assert "a unicorn: 0 of 5, cats: 5 of 5; 1 could not be read" in words
    assert "x0" not in words


@pytest.mark.usefixtures("photos")
def test_found_pictures_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    locate = Fake.locate

    def only_wide(self: Fake, scene: Any, queries: Any) -> Any:
        return locate(self, scene, queries if scene.frame.picture_hw[1] == 43 else ["a unicorn"])

    monkeypatch.setattr(Fake, "locate", only_wide)
    result = run("photos", "a cat")
    rows = [line.split()[0] for line in result.stdout.splitlines() if "photos/" in line]
    assert rows[0] == "photos/3.png"
    assert len(rows) == 5
    assert "a cat: 1 of 5; 1 could not be read" in result.stdout


@pytest.mark.usefixtures("photos")
def test_many_queries_share_a_column() -> None:
    words = " ".join(run("photos", *(f"thing {number}" for number in range(5))).stdout.split())
    assert words.startswith("picture found")
    assert "thing 0 0.75, thing 1 0.75" in words


@pytest.mark.usefixtures("photos")
def test_verbose_shows_every_picture_and_a_log() -> None:
    result = run("photos", "a cat", "-v")
    assert result.stdout.count("maps kept") == 5
    assert logging.getLogger("vlscore").level == logging.INFO
    run("photos", "a cat")
    assert logging.getLogger("vlscore").level == logging.WARNING


@pytest.mark.usefixtures("photos")
def test_csv_has_a_line_per_box() -> None:
    table = list(csv.DictReader(io.StringIO(run("photos", "a unicorn", "cats", "--csv", "-").stdout)))
    assert len(table) == 5 * (1 + 9) + 1
    assert table[0] == table[0] | {"picture": "photos/0.png", "query": "a unicorn", "present": "no", "score": "", "x0": ""}
    assert table[1] == table[1] | {"query": "cats", "present": "yes", "score": "0.75", "x0": "1.0", "y1": "20.0"}
    assert "damaged" in table[-1]["error"]


@pytest.mark.usefixtures("photos")
def test_lines_of_json_are_gone_on_with() -> None:
    assert run("photos/0.png", "photos/1.png", "a cat", "--jsonl", "x.jsonl").exit_code == 0
    assert "done already" not in run("photos/0.png", "a cat", "--preset", "instant", "--jsonl", "x.jsonl", "--resume").stdout
    assert len(lines(Path("x.jsonl"))) == 3  # another preset is another answer
    with Path("x.jsonl").open("a") as file:
        file.write('{"picture": "photos/2.p')  # as an interrupted run leaves it
    result = run("photos", "a cat", "--jsonl", "x.jsonl", "--resume")
    assert [Path(entry["picture"]).name for entry in lines(Path("x.jsonl"))] == [
        *("0.png", "1.png", "0.png", "2.png", "3.png", "4.png"),
        "broken.jpg",
    ]
    assert "2 were done already" in result.stdout
    assert "1 could not be read" in run("photos", "a cat", "--jsonl", "x.jsonl", "--resume").stdout  # tried again
    other = run("photos", "a dog", "--jsonl", "x.jsonl", "--resume")
    assert "a dog: 5 of 5" in other.stdout
    assert len(run("photos", "a cat", "--jsonl", "-").stdout.splitlines()) == 6


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--resume"], "name one"),
        (["--resume", "--jsonl", "-"], "name one"),
        (["--resume", "--jsonl", "x", "--csv", "y"], "leave out --csv"),
        (["--csv", "-", "--json", "-"], "two options write to stdout"),
        (["--csv", "x", "--json", "x"], "would be written twice"),
        (["--labels", "cocoa=x"], "did you mean `coco`?"),
        (["--labels", "coco="], "must be FORMAT=PATH"),
        (["--preset", "fst"], "did you mean `fast`?"),
    ],
)
@pytest.mark.usefixtures("photos")
def test_wrong_usage_is_told(arguments: list[str], part: str) -> None:
    result = run("photos", "a cat", *arguments)
    assert result.exit_code == 2
    assert part in " ".join(result.output.split())


@pytest.mark.usefixtures("photos")
def test_labels_for_other_tools() -> None:
    options = ["--labels", "coco=new/labels.json", "--labels", "yolo=yolo"]
    assert run("photos", "a cat", "a unicorn", *options, "--quiet").exit_code == 1
    coco = read(Path("new/labels.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == [f"{number}.png" for number in range(5)]
    assert len(coco["annotations"]) == 5
    assert sorted(path.name for path in Path("yolo").iterdir()) == [*(f"{number}.txt" for number in range(5)), "classes.txt"]


@pytest.mark.usefixtures("photos")
def test_boxes_are_cut_out() -> None:
    result = run("photos/0.png", "a Cat!", "a unicorn", "--crops", "cut", "--json", "-")
    assert read(result.stdout)["pictures"][0]["crops"] == ["cut/0.a-cat.1.jpg"]
    assert Image.open("cut/0.a-cat.1.jpg").size == (29, 18)


def test_frames_of_a_video_are_pictures(film: Path) -> None:
    result = run("film.mp4", "a cat", "--every", "0.5", "--jsonl", "-", "--out", "drawn")
    assert result.exit_code == 0, result.output
    entries = [json.loads(line) for line in result.stdout.splitlines()]
    assert [entry["picture"] for entry in entries] == ["film.mp4@0s", *(f"film.mp4@{n / 2:g}s" for n in range(1, 6))]
    assert entries[0]["answers"][0]["picture_hw"] == [48, 64]
    assert len(list(Path("drawn").iterdir())) == 6
    assert inputs.expand(["."], recursive=False, every_s=10)[-1] == inputs.VideoFrame(Path("film.mp4"), 0)


def test_frames_are_those_of_their_second(film: Path) -> None:
    found = [(second, float(pixels.mean())) for second, pixels in read_frames(film, 1.0)]
    assert [second for second, _ in found] == [0, 1, 2]
    assert [level for _, level in found] == pytest.approx([0, 80, 160], abs=6)


def test_a_video_that_cannot_be_read_stops_no_other(film: Path) -> None:
    Path("broken.mp4").write_bytes(b"nothing")
    with pytest.raises(PictureError, match="no video that OpenCV can read"):
        list(read_frames("broken.mp4", 1.0))
    assert run("broken.mp4", "a cat").exit_code == 1
    film.write_bytes(film.read_bytes()[: film.stat().st_size // 2])
    assert run("film.mp4", "a.png", "a cat").exit_code == 1
    assert "missing.mp4" in run("missing.mp4", "a cat").stderr


# ---- around the commands


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("locte", "did you mean `locate`?"),
        ("street.jpg", 'vlscore locate street.jpg "a dog"'),
        ("xyzzy", "there are locate, classify, doctor"),
    ],
)
def test_an_unknown_command_is_told_what_was_perhaps_meant(name: str, part: str) -> None:
    result = invoke(name)
    assert result.exit_code == 2
    assert part in result.output


@pytest.mark.usefixtures("folder")
def test_defaults_come_from_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("mine.toml").write_text('[locate]\nmodel = "M"\nthreshold = 0.5\nquiet = true\nquery = ["a cat"]\n')
    result = invoke("--config", "mine.toml", "locate", "a.png")
    assert (result.exit_code, result.output) == (0, "")
    assert (Fake.opened["model"], Fake.opened["spec"].threshold) == ("M", 0.5)
    monkeypatch.setenv("VLSCORE_CONFIG", "mine.toml")
    invoke("locate", "a.png", "--model", "N")
    assert Fake.opened["model"] == "N"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[locate]\nmodle = 1", "sets `locate.modle`, which is no option; did you mean `model`?"),
        ("[locat]\nmodel = 1", "has a table `locat`, which is no command; did you mean `locate`?"),
        ("model = 1", "has a table `model`"),
        ("[locate]\nmodel = {}", "must be a plain value"),
        ("[locate", "is no TOML"),
        (None, "cannot be read"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_wrong_file_of_defaults_is_told(text: str | None, part: str) -> None:
    if text is not None:
        Path("mine.toml").write_text(text)
    result = invoke("--config", "mine.toml", "locate", "a.png", "cat")
    assert result.exit_code == 2
    assert part in " ".join(result.output.split())


def test_commands_of_other_rooms_are_run_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []

    class Done:
        returncode = 3

    monkeypatch.setattr(aliases.subprocess, "run", lambda command, check: ran.append(command) or Done())
    assert invoke("build", "--backbone", "RN50", "--help").exit_code == 3
    assert ran == [[sys.executable, "-m", "export.build", "--backbone", "RN50", "--help"]]
    monkeypatch.setattr(aliases.importlib.util, "find_spec", lambda name: None)
    result = invoke("bench")
    assert result.exit_code == 1
    assert "`bench` is not installed: it comes with the source code" in result.stderr


@pytest.mark.parametrize("command", ["", "locate", "classify", "doctor", "tune", "pull", "models", "methods"])
def test_every_help_has_an_example(command: str) -> None:
    result = CliRunner(env={"COLUMNS": "100"}).invoke(app, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "vlscore " in result.stdout.replace("\n", " ")
    assert all(len(line) <= 100 for line in result.stdout.splitlines())


def test_methods_say_what_a_model_can_be_asked_by() -> None:
    result = CliRunner(env={"COLUMNS": "100"}).invoke(app, ["methods"])
    rows = {words[0]: words for line in result.stdout.splitlines() if (words := line.split())}
    assert "ready" in rows["maskclip"]
    assert rows["naclip"][-4:] == ["not", "added", "one", "pass"]
    assert "undefined" not in result.stdout
    assert "not defined for its kind of image encoder: tokens," in result.stdout
    told = {entry["method"]: entry for entry in json.loads(CliRunner().invoke(app, ["methods", "--json"]).stdout)}
    assert told["gem"]["state"] == "undefined"
    assert told["gem"]["paper"] == "Bousselham et al. 2024"


def test_a_method_that_always_sees_something_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    info = {"model": "RN50", "weights": "openai", "trained": True, "precision": "fp32", "device": "cpu", "backend": "here"}
    Report().summary({**info, "method": "grad-eclip"}, 1, 0.1)
    assert "whether a thing is there, `--method vl-score` tells" in capsys.readouterr().out
    Report().summary({**info, "method": "score-cam"}, 1, 0.1)
    assert "whether a thing is there" not in capsys.readouterr().out
