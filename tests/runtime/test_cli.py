"""The command `locate`: its arguments, what it writes, what it prints, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from engine.frame import Frame
from engine.methods import VL_SCORE
from engine.spec import DEFAULT, Spec
from runtime import __version__
from runtime.cli import inputs, outputs, progress
from runtime.cli.app import app
from runtime.errors import BundleError, DeviceError, PictureError
from runtime.localization import Localization
from runtime.pictures import Pixels, read_picture
from runtime.presets import EXACT
from runtime.scene import Scene
from runtime.text import QueryWarning
from tests.runtime.samples import noise

MAPS = 40
INFO = {
    "model": "RN50",
    "weights": "openai",
    "trained": True,
    "device": "cpu",
    "backend": "ONNX Runtime 1.2.3, 2 threads",
    "precision": "fp32",
}


def answer(picture: Pixels | None, query: str, spec: Spec, frame: Frame | None = None) -> Localization:
    """One box, many for a query in the plural, or none for a unicorn."""
    count = {"a unicorn": 0, "cats": 9}.get(query, 1)
    shape = (0, 0) if picture is None else (picture.shape[0], picture.shape[1])
    return Localization(
        query=query,
        xyxy=np.tile(np.array([[1, 2, 30, 20]], dtype=np.float32), (count, 1)),
        scores=np.full(count, 0.75, dtype=np.float32),
        present=count > 0,
        map=np.zeros((7, 7), dtype=np.float32),
        frame=frame or Frame.fit(shape, 224, "squash"),
        spec=spec,
        kept=12 * count,
        maps=MAPS,
        margin=0.1,
        similarity=0.2,
        passes=MAPS,
        picture=picture,
    )


class Fake:
    """Stands for Localizer: answers at once, and remembers how it was opened."""

    opened: dict[str, Any] = {}  # noqa: RUF012 - the latest, for the tests to read
    info: dict[str, Any] = INFO
    manifest = SimpleNamespace(maps=SimpleNamespace(count=MAPS))

    def __init__(self, model: str | None, **options: Any) -> None:
        Fake.opened = {"model": model, **options}
        self.method, self.plan = VL_SCORE, replace(EXACT, preset=options.get("preset", "exact"))
        self.spec: Spec = options["spec"]

    def scenes(self, pictures: Sequence[Path], *, progress: Any, on_skip: Any) -> Iterator[Scene]:
        for index, path in enumerate(pictures):
            try:
                picture = read_picture(path)
            except PictureError as error:
                on_skip(path, error)
                continue
            progress((index + 1) * MAPS, len(pictures) * MAPS)
            yield self.encode(picture)

    def encode(self, picture: Pixels) -> Scene:
        vector, frame = np.full(4, 0.5, dtype=np.float32), Frame.fit((picture.shape[0], picture.shape[1]), 224, "squash")
        maps, rows = np.zeros((MAPS, 7, 7), dtype=np.float32), np.tile(vector, (MAPS, 1))
        maps[:, 3, 3] = 1
        every = np.ones(MAPS, dtype=bool)
        return Scene(maps, rows, vector, vector, frame, every, every, MAPS, "exact", "fp32", "RN50", "f", picture)

    def locate(self, scene: Scene, queries: Sequence[str]) -> list[Localization]:
        return [answer(scene.picture, query, self.spec, scene.frame) for query in queries]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: two pictures, a third below, one that is broken, and a text."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a.png", "below/c.png"):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(noise(30, 40)).save(name)
    Path("broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 that is no picture")
    Path("notes.txt").write_text("no picture")
    return tmp_path


@pytest.fixture(autouse=True)
def fake(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the fake in place, but for tests that bring a real bundle."""
    if "tiny_bundle" not in request.fixturenames:
        monkeypatch.setattr("runtime.cli.locate.Localizer", Fake)


def run(*arguments: str) -> Any:
    """The result of a command line."""
    return CliRunner().invoke(app, ["locate", *arguments])


def read(text: str) -> Any:
    """JSON, as strict as other languages are."""

    def refuse(word: str) -> None:
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse)


# ---- arguments


@pytest.mark.parametrize(
    ("arguments", "pictures"),
    [
        (["a.png", "a cat"], 1),
        (["a.png", "b.png", "a cat", "a dog"], 2),
        (["below", "a cat"], 1),
        (["*.png", "cat"], 1),
        (["missing.jpg", "cat"], 1),
        (["missing/cat", "cat"], 1),
        (["a.scene.npz", "cat"], 1),
        (["A.PNG", "what is this?"], 1),
        (["a.png", "cat / dog"], 1),
        (["a.png", "x" * 5000], 1),
    ],
)
@pytest.mark.usefixtures("folder")
def test_pictures_come_first(arguments: list[str], pictures: int) -> None:
    assert inputs.split(arguments, []) == (arguments[:pictures], arguments[pictures:])


@pytest.mark.usefixtures("folder")
def test_with_explicit_queries_every_argument_is_a_picture() -> None:
    assert inputs.split(["a.png", "weird name"], ["a cat"]) == (["a.png", "weird name"], ["a cat"])
    assert run("a.png", "b.png", "-q", "a cat", "--query", "a dog", "--json", "-").stdout.count("a dog") == 2


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["a cat"], "`a cat` is no picture"),
        (["a.png"], "nothing to look for"),
        (["a.png", "below"], "up to `below`"),
        (["a.png", "a cat", "b.png"], "`b.png` comes after a query"),
        (["a.png", " "], "a query is empty"),
        (["a.png", "cat", "--device", "gpu"], "device `gpu` is unknown; choose from auto, cuda, cpu"),
        (["a.png", "cat", "--spec", "mine"], "`mine` is none of default, paper"),
        (["a.png", "cat", "--geometry", "round"], "`round` is none of crop"),
        (["a.png", "cat", "--threshold", "2"], "`threshold` must be"),
        (["a.png", "cat", "--temperature", "0"], "`temperature` must be from 1e-6"),
        (["a.png", "cat", "--set", "dilat=1"], "with a switch of the spec; did you mean `dilate`?"),
        (["a.png", "cat", "--set", "dilate=2"], "`dilate` must be"),
        (["a.png", "cat", "--set", "cut=thick"], "cut"),
        (["a.png", "cat", "--set", "threshold=0.2", "--threshold", "0.3"], "threshold"),
        (["a.png", "cat", "--threads", "0"], "--threads"),
        (["a.png", "cat", "--out", "a.png"], "would be overwritten"),
        (["a.png", "cat", "--out", "below/../a.png"], "would be overwritten"),
        (["a.png", "cat", "--json", "a.png"], "would be overwritten"),
        (["a.png", "cat", "--json", "below"], "is a folder"),
        (["a.png", "cat", "--out", "x.gif"], "ends in none of"),
        (["a.png", "b.png", "cat", "--out", "x.png"], "2 pictures; give a folder"),
        (["x.scene.npz", "cat", "--geometry", "crop"], "keeps its geometry"),
        ([], "Usage:"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_wrong_usage_ends_with_2(arguments: list[str], part: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert part in " ".join(result.output.split())


@pytest.mark.usefixtures("folder")
def test_folders_and_patterns_stand_for_their_pictures() -> None:
    Path(".hidden.png").touch()
    Path("a.boxes.png").touch()
    assert inputs.expand(["."], recursive=False) == [Path("a.png"), Path("b.png"), Path("broken.jpg")]
    assert Path("below/c.png") in inputs.expand(["."], recursive=True)
    assert inputs.expand(["?.png", "a.png", "b.png"], recursive=False) == [Path("a.png"), Path("b.png")]
    assert inputs.expand(["*"], recursive=False) == [Path(name) for name in ("a.boxes.png", "a.png", "b.png", "broken.jpg")]
    assert inputs.expand(["**/c.png"], recursive=False) == [Path("below/c.png")]
    assert inputs.expand(["missing.png"], recursive=False) == [Path("missing.png")]


def test_a_folder_of_scenes_stands_for_them(tmp_path: Path) -> None:
    (tmp_path / "x.scene.npz").touch()
    assert inputs.expand([str(tmp_path)], recursive=False) == [tmp_path / "x.scene.npz"]


def test_a_file_with_brackets_in_its_name_is_no_pattern(tmp_path: Path) -> None:
    path = tmp_path / "cat[1].png"
    path.touch()
    assert inputs.expand([str(path)], recursive=False) == [path]


@pytest.mark.parametrize("name", ["*.gif", "empty"])
def test_what_holds_no_picture_is_named(name: str, folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(PictureError, match=name.strip("*")):
        inputs.expand([name], recursive=False)
    result = run(name, "cat")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert f"`{name}`" in result.stderr


# ---- outputs


def test_inputs_of_one_name_are_drawn_under_several() -> None:
    stems = outputs.unique_stems(map(Path, ("x/cat.jpg", "y/cat.jpg", "cat.scene.npz", "CAT-2.png")))
    assert list(stems.values()) == ["cat", "cat-2", "cat-3", "CAT-2-2"]
    assert len({name.lower() for name in stems.values()}) == 4


def test_a_link_to_an_input_is_not_overwritten(folder: Path) -> None:
    (folder / "link.png").symlink_to(folder / "a.png")
    with pytest.raises(typer.BadParameter, match="overwritten"):
        outputs.plan([Path("a.png")], outputs.Wanted(out=Path("link.png")))


@pytest.mark.usefixtures("folder")
def test_draws_into_a_file_or_a_folder_that_is_made() -> None:
    assert run("a.png", "cat", "dog", "--out", "new/one.png").exit_code == 0
    assert run("a.png", "b.png", "cat", "--out", "many").exit_code == 0
    assert run("a.png", "cat", "--out", "single", "--no-heat").exit_code == 0
    assert sorted(path.name for path in Path("many").iterdir()) == ["a.boxes.png", "b.boxes.png"]
    assert Image.open("single/a.boxes.png").size == (40, 30)
    assert Image.open("new/one.png").width > 40  # two panels


# ---- what is printed


@pytest.mark.usefixtures("folder")
def test_prints_a_table_per_picture_and_a_last_line() -> None:
    result = run("a.png", "b.png", "a cat", "a unicorn", "cats")
    assert result.exit_code == 0, result.output
    words = " ".join(result.stdout.split())
    assert "a.png 40 x 30" in words
    assert "a cat yes 1 2 30 20 0.75 " in words
    assert "a unicorn no - - - - - " in words
    assert "maps kept" not in words
    assert "and 3 more boxes" in words
    assert words.endswith(" s")
    last = result.stdout.splitlines()[-1]
    assert last.startswith("RN50 (openai, fp32) on cpu (ONNX Runtime 1.2.3, 2 threads): 80 passes, ")
    assert result.stderr == ""


@pytest.mark.usefixtures("folder")
def test_an_answer_without_a_box_is_told_from_an_absent_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import dataclasses

    real = answer
    monkeypatch.setitem(globals(), "answer", lambda *given: dataclasses.replace(real(*given), present=True))
    assert "a unicorn no box" in " ".join(run("a.png", "a unicorn").stdout.split())


@pytest.mark.usefixtures("folder")
def test_markup_in_words_and_names_is_shown_as_it_is() -> None:
    Image.fromarray(noise(9, 9)).save("[bold]x.png")
    words = " ".join(run("[bold]x.png", "a [red]cat").stdout.split())
    assert "[bold]x.png 9 x 9" in words
    assert "a [red]cat" in words


@pytest.mark.usefixtures("folder")
def test_quiet_prints_nothing() -> None:
    result = run("a.png", "cat", "--quiet", "--json", "x.json")
    assert (result.exit_code, result.output) == (0, "")
    assert read(Path("x.json").read_text())["pictures"][0]["picture"] == "a.png"


@pytest.mark.usefixtures("folder")
def test_json_on_stdout_is_alone_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "info", {**INFO, "trained": False})
    result = run("a.png", "broken.jpg", "b.png", "a cat", "a unicorn", "--json", "-", "--out", "drawn")
    content = read(result.stdout)
    assert result.exit_code == 1
    assert content["model"]["model"] == "RN50"
    assert content["vlscore"] == __version__
    assert content["passes"] == 2 * MAPS
    first, broken, second = content["pictures"]
    assert first["answers"][0]["boxes"] == [{"xyxy": [1, 2, 30, 20], "score": 0.75}]
    assert first["answers"][1]["present"] is False
    assert (first["picture"], second["picture"]) == ("a.png", "b.png")
    assert first["drawn"] == str(Path("drawn/a.boxes.png"))
    assert "damaged" in broken["error"]
    assert "answers" not in broken


@pytest.mark.usefixtures("folder")
def test_random_weights_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "info", {**INFO, "trained": False})
    result = run("a.png", "cat")
    assert result.stderr == "warning: the weights of RN50 are random, not trained: the boxes mean nothing\n"
    assert "random weights" in result.stdout


@pytest.mark.usefixtures("folder")
def test_the_runtimes_warnings_are_one_plain_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import warnings

    def locate(self: Fake, scene: Scene, queries: Any) -> list[Localization]:
        warnings.simplefilter("always")
        warnings.warn("`cat` is long", QueryWarning, stacklevel=2)
        return [answer(scene.picture, "cat", DEFAULT)]

    monkeypatch.setattr(Fake, "locate", locate)
    assert run("a.png", "cat").stderr == "warning: `cat` is long\n"


# ---- options reach the model


@pytest.mark.usefixtures("folder")
def test_options_open_the_model_that_was_asked_for() -> None:
    options = ["--model", "M", "--device", "openvino", "--precision", "bf16", "--templates", "a {} there", "--threads", "3"]
    options += ["--background", "sky", "--background", "grass", "--windows", "336", "--affinity"]
    assert run("a.png", "cat", *options).exit_code == 0
    del Fake.opened["spec"]
    spent = {"method": "vl-score", "preset": "exact", "passes": None, "refine": None}
    asked = {"background": ["sky", "grass"], "windows": 336, "affinity": True}
    wanted = {"model": "M", "device": "openvino", "precision": "bf16", "templates": "a {} there", "threads": 3}
    assert Fake.opened == {**wanted, **spent, **asked, "scenes_only": False}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("passes", "meant"), [("auto", "auto"), ("48", 48)])
def test_the_preset_reaches_the_model(passes: str, meant: object) -> None:
    assert run("a.png", "cat", "--preset", "fast", "--passes", passes, "--refine", "16").exit_code == 0
    assert [Fake.opened[name] for name in ("preset", "passes", "refine")] == ["fast", meant, 16]


@pytest.mark.usefixtures("folder")
def test_the_spec_reaches_the_model() -> None:
    changes = ["--spec", "paper", "--threshold", "0.5", "--temperature", "2", "--geometry", "letterbox"]
    changes += ["--set", "dilate=0.02", "--set", "cut=otsu", "--set", "connectivity=8"]
    assert run("a.png", "cat", *changes).exit_code == 0
    spec = Fake.opened["spec"]
    assert (spec.name, spec.resize) == ("paper", "mirror")
    assert (spec.threshold, spec.temperature, spec.geometry) == (0.5, 2.0, "letterbox")
    assert (spec.dilate, spec.cut, spec.connectivity) == (0.02, "otsu", 8)


# ---- scenes


@pytest.mark.usefixtures("folder")
def test_scenes_are_saved_and_asked_again_in_the_order_given() -> None:
    result = run("a.png", "broken.jpg", "b.png", "cat", "--save-scenes", "kept", "--json", "-")
    assert result.exit_code == 1
    assert [entry.get("scene") for entry in read(result.stdout)["pictures"]] == ["kept/a.scene.npz", None, "kept/b.scene.npz"]
    again = read(run("kept/b.scene.npz", "a.png", "kept/a.scene.npz", "cat", "--json", "-", "--out", "drawn").stdout)
    assert [entry["picture"] for entry in again["pictures"]] == ["kept/b.scene.npz", "a.png", "kept/a.scene.npz"]
    assert again["passes"] == MAPS
    assert len(list(Path("drawn").iterdir())) == 3
    assert run("kept", "cat").exit_code == 0
    assert Fake.opened["scenes_only"] is True


@pytest.mark.usefixtures("folder")
def test_a_scene_without_its_picture_is_answered_but_not_drawn() -> None:
    Fake("M", spec=DEFAULT).encode(noise(30, 40)).save("x.scene.npz", picture=False)
    result = run("x.scene.npz", "cat", "--out", "x.png", "--json", "-")
    assert result.exit_code == 1
    assert result.stderr == "error: `x.png` was not drawn: the scene was saved without its picture\n"
    assert read(result.stdout)["pictures"][0]["answers"]


@pytest.mark.usefixtures("folder")
def test_a_damaged_scene_stops_no_other_input() -> None:
    Path("x.scene.npz").write_bytes(b"PK nothing")
    result = run("x.scene.npz", "a.png", "cat")
    assert result.exit_code == 1
    assert "a.png" in result.stdout
    assert result.stderr.startswith("error: `x.scene.npz` is not a saved scene")


# ---- endings


@pytest.mark.usefixtures("folder")
def test_broken_pictures_are_told_at_the_end_and_stop_no_other() -> None:
    result = run("broken.jpg", "a.png", "missing.jpg", "cat")
    assert result.exit_code == 1
    assert "a.png" in result.stdout
    first, second = result.stderr.splitlines()
    assert first.startswith("error: `picture` 'broken.jpg'")
    assert second.startswith("error: `picture` 'missing.jpg' does not exist")


@pytest.mark.usefixtures("folder")
def test_where_no_picture_can_be_read_the_error_stands_alone() -> None:
    result = run("broken.jpg", "cat")
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: `picture` 'broken.jpg'")


@pytest.mark.usefixtures("folder")
def test_missing_pictures_open_no_model() -> None:
    Fake.opened = {}
    result = run("missing.jpg", "cat")
    assert (result.exit_code, result.stdout, Fake.opened) == (1, "", {})
    assert result.stderr.startswith("error: `picture` 'missing.jpg' does not exist")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DeviceError("asked for `cuda`"), "error: asked for `cuda`"),
        (BundleError("no bundle"), "error: no bundle"),
        (OSError("disk full"), "error: disk full"),
        (MemoryError(), "error: the machine has no memory left for this"),
        (FileNotFoundError(2, "No such file", "x"), "error: `x` cannot be used: No such file"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_refusals_are_one_line_and_1(error: Exception, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("runtime.cli.locate.Localizer", refuse)
    result = run("a.png", "cat")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(line)
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.usefixtures("folder")
def test_fail_if_absent_ends_with_3() -> None:
    assert run("a.png", "a unicorn").exit_code == 0
    assert run("a.png", "cat", "--fail-if-absent").exit_code == 0
    assert run("a.png", "cat", "a unicorn", "--fail-if-absent").exit_code == 3
    assert run("a.png", "broken.jpg", "a unicorn", "--fail-if-absent").exit_code == 1


@pytest.mark.usefixtures("folder")
def test_interrupted_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("runtime.cli.locate.Localizer", interrupt)
    result = run("a.png", "cat")
    assert (result.exit_code, result.output.strip()) == (130, "interrupted")


# ---- the progress bar


def test_the_bar_shows_only_when_work_is_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setattr(progress, "PATIENCE_S", 30)
    with progress.Bar(shown=True) as short:
        short(1, 10)
    assert short.timer.finished.is_set()
    short.show()  # a timer that comes too late
    assert capsys.readouterr().err == ""
    with progress.Bar(shown=True) as long:
        long.say("looking")
        long.show()
        long(3, 10)
        with long.aside():
            print("a table")
    told = capsys.readouterr()
    assert told.out == "a table\n"
    assert "looking" in told.err


def test_a_hidden_bar_starts_no_thread(capsys: pytest.CaptureFixture[str]) -> None:
    before = threading.active_count()
    with progress.Bar(shown=False) as hidden:
        hidden.say("looking")
        hidden(1, 2)
        assert threading.active_count() == before
    assert capsys.readouterr().err == ""


# ---- the whole way


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The result of another Python."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=120)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from runtime.cli.app import main; sys.argv = ['vlscore', 'locate', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print('heavy:', *({'onnxruntime', 'cv2', 'PIL', 'tokenizers', 'torch'} & set(sys.modules)))"
    )
    result = python("-c", code)
    assert "--fail-if-absent" in result.stdout
    assert result.stdout.splitlines()[-1] == "heavy:"


def test_version_and_module() -> None:
    assert python("-m", "runtime", "--version").stdout == f"vlscore {__version__}\n"
    assert python("-m", "runtime").returncode == 2


def test_a_real_model_answers_and_its_scenes_answer_the_same(folder: Path, tiny_bundle: Path) -> None:
    model = ["--model", str(tiny_bundle), "--device", "cpu", "--threads", "2"]
    result = run("a.png", "b.png", "a cat", "noise", *model, "--json", "-", "--save-scenes", "kept", "--out", "drawn")
    assert result.exit_code == 0, result.output
    assert "not trained" in result.stderr
    direct = read(result.stdout)
    assert (direct["model"]["trained"], direct["model"]["bundle"]) == (False, str(tiny_bundle))
    assert direct["passes"] > 0
    again = read(run("kept", "a cat", "noise", *model, "--json", "-").stdout)
    packed = read(run("a.png", "b.png", "a cat", "noise", *model, "--json", "-").stdout)
    assert again["passes"] == 0
    boxes = [[answer["boxes"] for entry in run["pictures"] for answer in entry["answers"]] for run in (direct, again, packed)]
    assert boxes[0] == boxes[1]
    assert [len(found) for found in boxes[0]] == [len(found) for found in boxes[2]]
    assert len(list((folder / "drawn").iterdir())) == 2


def test_a_real_model_refuses_what_it_cannot_do(folder: Path, tiny_bundle: Path) -> None:
    result = run(str(folder / "a.png"), "cat", "--model", str(tiny_bundle), "--templates", "nonsense")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: templates 'nonsense' are unknown")
