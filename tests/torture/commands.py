"""Command lines of every kind, over good, damaged and missing files: an exit code, and never a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
from PIL import Image

import runtime.cli.tune
from runtime.bundles import SHIPPED
from runtime.cli.app import main
from runtime.measurements import Timing
from tests.runtime.samples import encoded, noise
from tests.torture import bundles
from tests.torture.mutation import FLOATS, NUMBERS, damaged
from tests.torture.opened import SHIPPED_MODEL, emptied, shipped_bundle, shipped_scene

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # read once, by whoever opens a video first: here a writer

REFUSALS = ()
CODES = (0, 1, 2, 3, 130)
FOLDER = tempfile.TemporaryDirectory()
WORK, HOME = Path(FOLDER.name, "work"), Path(FOLDER.name, "home")  # where a command runs, and the user's own folder
PLAIN = ("a cat", "dog", "a [b]", "[bold]", "*.none", "x.jpg", "{}")
WORDS = (*PLAIN, "", " ", "é日本", "\udc80", "\x1b[31m", "a" * 300, "-", "--", "-q")
QUICK = (["--preset", "instant"], ["--preset", "instant"], ["--preset", "fast", "--passes", "2", "--refine", "0"])


def case(rng: random.Random) -> Callable[[], None]:
    """One command line in a folder with some files."""
    lay_out(rng)
    command = rng.choice((locate, locate, locate, locate, doctor, tune, anything))
    arguments = [one.replace("\0", "") for one in command(rng)]

    def act() -> None:
        before = outside()
        code, said = run(arguments)
        assert code in CODES, f"{code} from {arguments}"
        assert "Traceback" not in said, said
        assert outside() == before, f"{arguments} wrote elsewhere"
        for path in WORK.rglob("*.json"):
            if path.name == "answers.json" and path.is_file():
                json.loads(path.read_bytes())
        assert not [path for path in WORK.rglob(".*.tmp")], f"{arguments} left something behind"

    return act


def lay_out(rng: random.Random) -> None:
    """Pictures, scenes, bundles and measurements, some of them damaged."""
    os.chdir(FOLDER.name)
    emptied(WORK)
    for name, content in seeds().items():
        (WORK / name).write_bytes(damaged(rng, content) if rng.random() < 0.3 else content)
    (WORK / "folder" / "inner").mkdir(parents=True)
    (WORK / "folder" / "b.png").write_bytes(seeds()["a.png"])
    (WORK / "empty").mkdir()
    (WORK / "link.png").symlink_to("a.png")
    (WORK / "loop").symlink_to("loop")
    os.mkfifo(WORK / "pipe.png")
    emptied(HOME / "bundles")
    if rng.random() < 0.3:
        bundles.harmed_copy(rng, HOME / "bundles" / rng.choice(("RN50", "demo-rn", "[x]")))
    tuned = HOME / "bundles" / ".tuned"
    if rng.random() < 0.2:
        tuned.mkdir()
        for name in measured():
            (tuned / name).write_bytes(damaged(rng, measured()[name], len(measured()[name])))


def locate(rng: random.Random) -> list[str]:
    """Some pictures, some words, some options."""
    there = ("a.png", "b.jpg", "c.scene.npz", "d.mp4", "folder", "empty", "link.png", "loop", "pipe.png")
    files = (*there, "none.png", "*.png", "**/*", "~", ".", "[a].png")
    names = [rng.choice(files) for _ in range(rng.choice((0, 1, 1, 1, 1, 2, 3)))]
    words = [rng.choice(WORDS) for _ in range(rng.choice((0, 1, 1, 1, 1, 2)))]
    options = [part for _ in range(rng.choice((0, 1, 1, 2, 4))) for part in option(rng)]
    return ["locate", *shuffled(rng, [names + words, options, rng.choice(QUICK)])]


def option(rng: random.Random) -> list[str]:
    """One option of `locate`, its value good or odd."""
    targets = ("out.png", "out", "new/deep/out.jpg", "a.png", "folder", "", " ", "-", "loop", "empty/x", "n" * 300, "x.gif")
    choices: dict[str, tuple[str, ...]] = {
        "--out": targets,
        "--json": (*targets, "answers.json", "answers.json", "\udc80.png"),
        "--jsonl": (*targets, "answers.jsonl"),
        "--csv": targets,
        "--crops": targets,
        "--labels": ("coco=new/x.json", "cvat=x.xml", "yolo=out", "voc=folder", "label-studio=a.png", "x", "coco=", "yolo=loop"),
        "--save-scenes": targets,
        "--model": ("demo-rn", "RN50", "none", "~nouser/x", "", ".", "folder", "loop", str(SHIPPED_MODEL), "[x]"),
        "--device": ("cpu", "auto", "cuda", "cuda:7", "x", "openvino:1"),
        "--precision": ("fp32", "bf16", "int8", "x"),
        "--spec": ("default", "paper", "x"),
        "--geometry": ("crop", "letterbox", "squash", "stretch", "x"),
        "--set": (
            "dilate=0.1",
            "find=contours",
            "cut=otsu",
            "erode=nan",
            "min_area=" + "9" * 400,
            "x=1",
            "=",
            "name=",
            "base=black",
        ),
        "--method": ("vl-score", "naclip", "x"),
        "--templates": ("plain", "imagenet", "a {}", "x", "{}" * 3_000),
        "--query": WORDS,
    }
    numbers = ("--threshold", "--temperature", "--passes", "--refine", "--threads", "--every")
    flags = (
        "--no-heat",
        "--masks",
        "--resume",
        "-v",
        "-vv",
        "--recursive",
        "--quiet",
        "--fail-if-absent",
        "--version",
        "--help",
        "--bogus",
    )
    name = rng.choice((*choices, *choices, *numbers, *flags))
    if name in flags:
        return [name]
    return [name, rng.choice(choices[name]) if name in choices else number(rng)]


def number(rng: random.Random) -> str:
    """A number, or what may be taken for one."""
    return rng.choice(
        ("1", "2", "auto", "0.5", "1e-45", "9" * 5_000, "٣", "1_0", " 1", "0x10", "", *map(str, (*FLOATS, *NUMBERS)))
    )


def doctor(rng: random.Random) -> list[str]:
    """The command `doctor`."""
    return ["doctor", *(name for name in ("--json", "--verify") if rng.random() < 0.5), *rng.choice(((), (), ("x",)))]


def tune(rng: random.Random) -> list[str]:
    """The command `tune`."""
    model = rng.choice(("demo-rn", "RN50", "none", "folder", "", "~nouser/x", str(SHIPPED_MODEL)))
    return ["tune", *rng.choice(((), (model,), (model,))), *rng.choice(((), ("--rounds", number(rng))))]


def anything(rng: random.Random) -> list[str]:
    """Words that need not even be a command."""
    return [
        rng.choice((*WORDS, "locate", "doctor", "tune", "--help", "--version", "a.png")) for _ in range(rng.choice((0, 1, 2, 5)))
    ]


def shuffled(rng: random.Random, parts: list[list[str]]) -> list[str]:
    """The parts in any order."""
    return [one for part in rng.sample(parts, len(parts)) for one in part]


def run(arguments: list[str]) -> tuple[Any, str]:
    """What a command line ends with, and what it prints."""
    output = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    code: Any = 0
    with at_home(), contextlib.redirect_stdout(output), contextlib.redirect_stderr(output), warnings.catch_warnings():
        sys.argv = ["vlscore", *arguments]
        try:
            main()
        except SystemExit as end:
            code = end.code
    return code, output.buffer.getvalue().decode(errors="replace")


@contextlib.contextmanager
def at_home() -> Iterator[None]:
    """In the working folder, with a user's folder, a cache and a place for temporary files of its own."""
    before = dict(os.environ)
    os.environ.update(
        HOME=str(HOME), VLSCORE_HOME=str(HOME / "bundles"), VLSCORE_THREADS="1", COLUMNS="100", XDG_CACHE_HOME=str(HOME)
    )
    os.chdir(WORK)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        os.chdir(FOLDER.name)


def outside() -> list[tuple[str, int]]:
    """Everything near the working folder that a command has no business with, but what it may keep for itself."""
    mine = HOME / "bundles"
    near = [path for path in Path(FOLDER.name).rglob("*") if WORK not in path.parents and mine not in path.parents]
    return sorted((str(path), path.lstat().st_size) for path in (*near, *SHIPPED.rglob("*")) if not path.is_dir())


@cache
def seeds() -> dict[str, bytes]:
    """The files that commands are given; what takes a second the first time is done here."""
    runtime.cli.tune.measure = lambda *_: [Timing("cpu", "fp32", 1, 10.0)]
    made = {kind: encoded(Image.fromarray(noise(30, 40)), kind) for kind in ("PNG", "JPEG")}
    with tempfile.TemporaryDirectory() as folder:
        scene = shipped_scene().save(Path(folder, "c.scene.npz")).read_bytes()
    shutil.rmtree(HOME, ignore_errors=True)
    emptied(WORK), emptied(HOME)
    run(["doctor"])
    return {"a.png": made["PNG"], "b.jpg": made["JPEG"], "c.scene.npz": scene, "d.mp4": film()}


def film() -> bytes:
    """A video of a second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "d.mp4")
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 5, (64, 48))
        for _ in range(5):
            writer.write(noise(48, 64))
        writer.release()
        return path.read_bytes()


@cache
def measured() -> dict[str, bytes]:
    """What `tune` keeps for the shipped bundle."""
    with at_home():
        path = runtime.cli.tune.keep(shipped_bundle().manifest, [Timing("cpu", "fp32", 1, 10.0)] * 3)
        return {path.name: path.read_bytes()}
