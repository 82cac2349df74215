"""Killed writers, full and read-only disks, Ctrl-C, many threads at once, and long runs.

Whatever happens to a writer, its target holds the old content or the new one, whole. A case works in processes of its own,
and the moment at which a process is killed is no number's to say: a find may need several tries to be seen again.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from runtime import Localization, Localizer, Scene, VlscoreError
from tests.runtime.samples import encoded, noise
from tests.torture.apart import (
    PATIENCE,
    alone,
    fill,
    mounted,
    names_in,
    open_files,
    remount_read_only,
    resident,
    wait_for,
    working_folder,
)
from tests.torture.opened import shipped_bundle
from tests.torture.writers import WRITERS, target, write_for_ever

REFUSALS = ()
LATE = 400.0  # seconds: a long run is no hanging one
ROOT = Path(__file__).parents[2]
THREADS, PICTURES = 32, 8
MOST_GROWTH = 48 << 20  # bytes: the words asked are kept, up to some megabytes
WARM = 40  # pictures until everything was used once
MOST_BYTES = 16 << 30  # threads reserve far more than they use

Case = Callable[[], None]


def case(rng: random.Random) -> Case:
    """One calamity."""
    return rng.choice(CALAMITIES)(rng)


def killed_writer(rng: random.Random) -> Case:
    """SIGKILL while a file is replaced again and again."""
    kind, delay = rng.choice(sorted(WRITERS)), rng.random() * 0.1

    def act() -> None:
        with working_folder() as folder:
            path = target(kind, folder)
            WRITERS[kind].write(path, 0)
            old = path.stat().st_mtime_ns
            process = multiprocessing.get_context("fork").Process(target=write_for_ever, args=(kind, path))
            process.start()
            wait_for(lambda: path.stat().st_mtime_ns != old or not process.is_alive())
            time.sleep(delay)
            process.kill()
            process.join()
            assert process.exitcode == -signal.SIGKILL, f"the writer ended by itself, with {process.exitcode}"
            WRITERS[kind].read(path)
            others = names_in(path.parent) - {path.name}
            assert len(others) <= 1, f"left {others}"
            assert all(name.startswith(".") for name in others), f"left {others} in sight"

    return act


def full_disk(rng: random.Random) -> Case:
    """A disk that has room for a part of the file."""
    kind, room = rng.choice(sorted(WRITERS)), rng.choice((0, 1, 5_000, 20_000))

    def act() -> None:
        with working_folder() as folder:
            alone(write_without_room, kind, folder, room)

    return act


def write_without_room(kind: str, folder: Path, room: int) -> None:
    """What `full_disk` does in its own process, whose mounts and limits nobody else has."""
    small = mounted(folder)
    path = target(kind, folder)
    WRITERS[kind].write(path, 0)
    if small:
        fill(folder / "ballast", room)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    refuses_to_write(kind, path)


def read_only(rng: random.Random) -> Case:
    """A folder that nothing can be written to."""
    kind = rng.choice(sorted(WRITERS))

    def act() -> None:
        with working_folder() as folder:
            alone(write_read_only, kind, folder)

    return act


def write_read_only(kind: str, folder: Path) -> None:
    """What `read_only` does in its own process."""
    small = mounted(folder)
    path = target(kind, folder)
    WRITERS[kind].write(path, 0)
    if small:
        remount_read_only(folder)
        refuses_to_write(kind, path)
    elif os.geteuid() != 0:  # nothing is closed to root
        path.parent.chmod(0o555)
        refuses_to_write(kind, path)
        path.parent.chmod(0o755)


def refuses_to_write(kind: str, path: Path) -> None:
    """The writer refuses by an error that the command line tells in one line, and all is as it was."""
    before = names_in(path.parent)
    try:
        WRITERS[kind].write(path, 1)
    except (VlscoreError, OSError):
        assert WRITERS[kind].read(path) == 0
        assert names_in(path.parent) == before
    else:
        raise AssertionError(f"the {kind} was written all the same")


def interrupted(rng: random.Random) -> Case:
    """Ctrl-C while several pictures are asked and everything is written that can be."""
    delay = rng.random() * 0.4

    def act() -> None:
        with working_folder() as folder:
            (folder / "in").mkdir()
            for number in range(PICTURES):
                (folder / "in" / f"{number}.png").write_bytes(encoded(Image.fromarray(noise(200, 300)), "PNG"))
            made = [part for name in ("out", "json", "save-scenes") for part in (f"--{name}", str(folder / name))]
            quick = ["--device", "cpu", "--threads", "1", "--preset", "fast", "--passes", "32", "--refine", "0"]
            command = [sys.executable, "-m", "runtime", "locate", str(folder / "in"), "a cat", "--quiet", *made, *quick]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
                wait_for(lambda: any(folder.glob("out/*.png")) or process.poll() is not None)
                time.sleep(delay)
                process.send_signal(signal.SIGINT)
                said = process.communicate()[1].decode()
            assert process.returncode in (0, 130), f"ends with {process.returncode}: {said}"
            assert "Traceback" not in said, said
            for path in (path for path in folder.rglob("*") if path.is_file() and "in" not in path.parts):
                assert not path.name.startswith("."), f"left {path.name}"
                whole(path)

    return act


def whole(path: Path) -> None:
    """Raise unless a file of `locate` can be read."""
    if path.name == "json":
        assert len(json.loads(path.read_bytes())["pictures"]) == PICTURES
    elif path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
    else:
        Scene.load(path)


def many_threads(_: random.Random) -> Case:
    """32 threads encode and ask at once, and get what one gets."""
    return lambda: alone(ask_in_threads)


def ask_in_threads() -> None:
    """What `many_threads` does in its own process."""
    pictures = [noise(30, 40 + number) for number in range(4)]
    words = ["a cat", "a dog", "a red apple on a table"]
    alone_found = [small_model()(picture, words) for picture in pictures]
    shared, together = small_model(), threading.Barrier(THREADS)
    scene = shared.encode(pictures[0])

    def work(number: int) -> bool:
        together.wait(PATIENCE)
        own = shared(pictures[number % 4], words)
        return same(own, alone_found[number % 4]) and same(shared.locate(scene, words), alone_found[0])

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(work, range(THREADS)))


def same(some: list[Localization], others: list[Localization]) -> bool:
    """Whether two lists of answers say the same to the last bit."""
    pairs = list(zip(some, others, strict=True))
    return all(a.to_dict() == b.to_dict() and np.array_equal(a.map, b.map) for a, b in pairs)


def short_run(_: random.Random) -> Case:
    """Some pictures take no more memory and no more open files than the first ones."""
    return lambda: alone(ask_for_long, 1.0)


def long_run(_: random.Random) -> Case:
    """Nor do thousands."""
    return lambda: alone(ask_for_long, 60.0)


def ask_for_long(seconds: float) -> None:
    """Encode, ask, draw, save and load, for so many seconds after the first pictures."""
    model, end, number = small_model(), 0.0, 0
    memory, files = 0, 0
    with working_folder() as folder:
        while number <= WARM or time.monotonic() < end:
            data = encoded(Image.fromarray(noise(20 + number % 50, 30 + number % 70)), ("PNG", "JPEG", "WEBP")[number % 3])
            found = model(data, [f"thing {number}", "a cat"])
            if number % 10 == 0:
                found[0].save(folder / "a.png")
                scene = model.encode(data)
                model.locate(scene.load(scene.save(folder / "a.npz")), f"something {number}")
            number += 1
            if number == WARM:
                gc.collect()
                memory, files, end = resident(), open_files(), time.monotonic() + seconds
    gc.collect()
    assert open_files() == files, f"{open_files()} files are open after {number} pictures, {files} after {WARM}"
    grown = resident() - memory
    assert grown < MOST_GROWTH, f"{grown / 1e6:.0f} MB more after {number} pictures than after {WARM}"


# As often as their seconds allow.
OFTEN = {killed_writer: 8, full_disk: 6, read_only: 3, interrupted: 2, many_threads: 2, short_run: 2, long_run: 1}
CALAMITIES = tuple(calamity for calamity, count in OFTEN.items() for _ in range(count))


def small_model() -> Localizer:
    """The shipped model in its quickest way."""
    model = Localizer(shipped_bundle(), device="cpu", threads=1, preset="instant")
    model.text.warned = True  # that it is small
    return model
