"""A scene file from a stranger is a good scene or one SceneError: at once, in little memory, whatever its bytes are."""

from __future__ import annotations

import io
import json
import os
import socket
import struct
import time
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from engine.frame import Frame
from runtime import Scene, SceneError
from runtime.pictures import MAX_PIXELS_VARIABLE
from runtime.scene_files import to_jpeg
from tests.runtime.samples import encoded, noise

COUNT, GRID, DIM, SIDE = 6, 3, 8, 96
HW = (40, 60)
DAMAGED = "is not a saved scene, or is damaged .*; encode the picture again"


def made(preset: str = "exact") -> Scene:
    """A small scene such as an encoder gives."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((COUNT + 2, DIM)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    maps = rng.random((COUNT, GRID, GRID), dtype=np.float32)
    maps[1] = 0.5
    live, known = np.arange(COUNT) != 1, np.arange(COUNT) != (9 if preset == "exact" else 2)
    guide = noise(GRID * 16, GRID * 16)
    about = (preset, "fp32", "tiny", "f" * 64)
    return Scene(
        *(maps, rows[:COUNT], rows[-2], rows[-1], Frame.fit(HW, SIDE, "squash"), live, known, 5), *about, noise(*HW), guide
    )


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return made().save(tmp_path / "a.npz")


def contents(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewrite(path: Path, compression: int = zipfile.ZIP_STORED, **changes: bytes | None) -> None:
    """Write a scene anew with some members changed, added or taken out."""
    members = {**contents(path), **{f"{name}.npy": data for name, data in changes.items()}}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            if data is not None:
                archive.writestr(name, data)


def npy(array: Any, **options: Any) -> bytes:
    """The bytes of an array in NumPy's format."""
    stream = io.BytesIO()
    np.save(stream, np.asarray(array), **options)
    return stream.getvalue()


def about(path: Path, **changes: Any) -> bytes:
    """A scene's description with some fields changed, `...` taken out."""
    stored = np.load(io.BytesIO(contents(path)["about.npy"]))
    told = {**json.loads(bytes(stored)), **changes}
    return text(json.dumps({name: value for name, value in told.items() if value is not ...}))


def text(words: str | bytes) -> bytes:
    """A member that holds text."""
    return npy(np.frombuffer(words.encode() if isinstance(words, str) else words, np.uint8))


def refused(path: Path, words: str = DAMAGED) -> str:
    with pytest.raises(SceneError, match=words) as caught:
        Scene.load(path)
    assert len(str(caught.value)) < 1000 + 2 * len(str(path))
    return str(caught.value)


@pytest.mark.parametrize("preset", ["exact", "fast", "instant"])
def test_what_was_saved_is_loaded(tmp_path: Path, preset: str) -> None:
    scene = replace(made(preset), blank="black")
    found = Scene.load(scene.save(tmp_path / "b.npz"))
    assert found.blank == "black"
    assert (found.frame, found.passes, found.preset) == (scene.frame, 5, preset)
    np.testing.assert_array_equal(found.known, scene.known)
    np.testing.assert_array_equal(found.live, scene.live)
    np.testing.assert_array_equal(found.guide, scene.guide)
    assert found.maps.flags.writeable


def test_a_guess_is_kept_where_something_was_run_since(tmp_path: Path) -> None:
    scene = made("fast")
    guess = scene.embeddings * np.float32(1.5)
    found = Scene.load(replace(scene, guess=guess).save(tmp_path / "a.npz"))
    np.testing.assert_array_equal(found.guess, guess)
    nothing = replace(scene, guess=scene.embeddings, known=~scene.live)
    path = nothing.save(tmp_path / "b.npz")
    assert "guess.npy" not in contents(path)
    np.testing.assert_array_equal(Scene.load(path).guess, scene.embeddings)
    assert Scene.load(scene.save(tmp_path / "c.npz")).guess is None
    for wrong in (guess[1:], guess * 100, guess * np.nan, guess.astype(int)):
        path = replace(scene, guess=guess).save(tmp_path / "d.npz")
        rewrite(path, guess=npy(wrong))
        refused(path)


def test_scenes_from_before_the_blank_picture_was_kept(saved: Path) -> None:
    rewrite(saved, about=about(saved, blank=...))
    assert Scene.load(saved).blank == "mean"


def test_arrays_in_fortran_order_and_other_depths(saved: Path) -> None:
    scene = made()
    rewrite(saved, maps=npy(np.asfortranarray(scene.maps)), embeddings=npy(scene.embeddings.astype(np.float64)))
    found = Scene.load(saved)
    np.testing.assert_array_equal(found.maps, scene.maps)
    np.testing.assert_array_equal(found.embeddings, scene.embeddings)
    assert found.maps.flags.c_contiguous


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_compressed_members_are_not_even_begun(saved: Path, method: int) -> None:
    rewrite(saved, method, maps=npy(np.zeros((9, 3, 3), np.float32)))
    assert "compressed or encrypted" in refused(saved)


def test_encrypted_members(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.index(signature) + place] |= 1
    saved.write_bytes(data)
    assert "compressed or encrypted" in refused(saved)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (999999999, 999999999, 99), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 900 + ",), }",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (6, 3, -3), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (6, 3, 3), }",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6, 3, 3), }",
        "{'descr': '>f4', 'fortran_order': False, 'shape': (6, 3, 3), }",
        "[" * 900,
        "__import__('os').abort()",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
        "",
    ],
)
def test_headers_of_arrays_are_never_evaluated(saved: Path, header: str) -> None:
    line = header.encode() + b"\n"
    rewrite(saved, maps=b"\x93NUMPY\1\0" + struct.pack("<H", len(line)) + line + bytes(216))
    refused(saved)


def test_members_that_share_their_bytes_or_lie_outside(saved: Path) -> None:
    data = saved.read_bytes()
    entries = [at for at in range(len(data)) if data[at : at + 4] == b"PK\1\2"]
    for at, change in ((24, 2**31), (42, 2**31), (42, len(data) - 9), (24, 0), (20, 5)):
        damaged = bytearray(data)
        damaged[entries[0] + at : entries[0] + at + 4] = struct.pack("<I", change)
        saved.write_bytes(damaged)
        refused(saved)


def test_more_members_than_a_scene_has(saved: Path) -> None:
    with zipfile.ZipFile(saved, "a") as archive:
        for index in range(20):
            archive.writestr(f"{index}.npy", b"")
    refused(saved)
    rewrite(made().save(saved), other=npy([1.0]))
    assert "'other.npy', which no scene does" in refused(saved)


@pytest.mark.parametrize("size", [0, 1, 21, 22, 23, 100])
@pytest.mark.parametrize("fill", [b"\0", b"PK\5\6", b"\xff", b"PK\1\2"])
def test_files_of_nothing(tmp_path: Path, size: int, fill: bytes) -> None:
    (tmp_path / "x.npz").write_bytes((fill * size)[:size])
    refused(tmp_path / "x.npz")


def test_a_directory_of_millions_is_not_read(tmp_path: Path) -> None:
    entry = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", *[0] * 9, 0, *[0] * 6)
    listed = entry * 50_000
    (tmp_path / "x.npz").write_bytes(listed + struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 50_000, 50_000, len(listed), 0, 0))
    started = time.process_time()
    assert "50000 members" in refused(tmp_path / "x.npz")
    assert time.process_time() - started < 0.1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.npz"))
        for path in (tmp_path / "pipe.npz", tmp_path / "socket.npz", tmp_path, Path("/dev/zero"), Path("/dev/null")):
            refused(path, r"is not a saved scene")
    for path in ("a\0b.npz", "a" * 5000, "", None, 0):
        refused(path, "is not a saved scene|does not exist|must name a file")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words",
    [
        b"[" * 16_000,
        b'{"a":' * 3_000,
        b'{"schema": 2, "passes": ' + b"9" * 5_000 + b"}",
        b'{"schema": ' + b"9" * 4_000 + b"}",
        b'{"schema": NaN}',
        b'"\xed\xa0\x80"',
        b"{}" + b" " * 20_000,
        b"",
    ],
)
def test_descriptions_that_overwhelm(saved: Path, words: bytes) -> None:
    rewrite(saved, about=text(words))
    refused(saved, "encode the picture again")


@pytest.mark.parametrize(
    "changes",
    [
        {"passes": [1]},
        {"passes": -1},
        {"passes": COUNT + 1},
        {"passes": True},
        {"passes": 1e9},
        {"preset": "quick"},
        {"preset": None},
        {"backbone": ""},
        {"backbone": "x" * 5000},
        {"backbone": "a\x1b[31m"},
        {"fingerprint": 3},
        {"precision": []},
        {"blank": "white"},
        {"live": 3},
        {"live": "5"},
        {"schema": "2"},
        {"unknown": 1},
        {"frame": ...},
    ],
)
def test_fields_that_mean_nothing(saved: Path, changes: dict[str, Any]) -> None:
    rewrite(saved, about=about(saved, **changes))
    refused(saved)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"picture_hw": [10**30, 10**30]}, "megapixels"),
        ({"picture_hw": [1, 10**6]}, "sides of at most 100000"),
        ({"picture_hw": [0, 5]}, "at least 1 x 1"),
        ({"side": 10**9}, "does not lie so"),
        ({"resized_hw": [96, 10**9]}, "does not lie so"),
        ({"offset_yx": [3, 0]}, "does not lie so"),
        ({"picture_hw": [40, 61]}, r"its picture has \(40, 60\) pixels"),
        ({"picture_hw": [40, 59]}, "its picture is none"),
        ({"geometry": "round"}, "geometry"),
    ],
)
def test_pictures_that_lie_nowhere(saved: Path, changes: dict[str, Any], words: str) -> None:
    rewrite(saved, about=about(saved, frame={**made().frame.to_dict(), **changes}))
    assert words.replace("\\", "") in refused(saved)


def test_limit_of_pixels_counts_here_too(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, str(HW[0] * HW[1] - 1))
    assert MAX_PIXELS_VARIABLE in refused(saved)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maps", np.full((COUNT, GRID, GRID), 1e38, np.float32)),
        ("maps", np.full((COUNT, GRID, GRID), 1e300)),
        ("maps", np.full((COUNT, GRID, GRID), -2e6, np.float32)),
        ("maps", np.full((COUNT, GRID, GRID), np.nan, np.float32)),
        ("maps", np.zeros((COUNT, GRID, GRID), np.float32)),  # none of them lives
        ("maps", np.zeros((COUNT, GRID, GRID), np.uint8)),
        ("maps", np.zeros((COUNT, 0, 0), np.float32)),
        ("maps", np.zeros((COUNT, 1, 600), np.float32)),
        ("embeddings", np.ones((COUNT, DIM), np.float32)),
        ("embeddings", np.zeros((COUNT, DIM), np.float32)),
        ("embeddings", np.zeros((COUNT, 0), np.float32)),
        ("base", np.full(DIM, np.inf, np.float32)),
        ("embedding", np.zeros((DIM, 1), np.float32)),
        ("known", np.zeros(COUNT, bool)),
        ("known", np.ones(COUNT + 1, bool)),
        ("known", np.ones(COUNT, np.uint8)),
        ("guide", np.zeros((4, 4), np.uint8)),
        ("guide", np.zeros((4, 4, 4), np.uint8)),
        ("guide", np.zeros((0, 4, 3), np.uint8)),
        ("guide", np.zeros((9000, 1, 3), np.uint8)),
        ("guide", np.zeros((4, 4, 3), np.float32)),
        ("jpeg", np.zeros((2, 2), np.uint8)),
        ("jpeg", np.zeros(0, np.uint8)),
    ],
)
def test_arrays_that_no_encoder_gives(saved: Path, name: str, value: Any) -> None:
    rewrite(saved, **{name: npy(value)})
    refused(saved)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "EPS", "TIFF"])
def test_only_a_jpeg_is_opened_inside(saved: Path, kind: str) -> None:
    rewrite(saved, jpeg=text(encoded(Image.fromarray(noise(*HW)), kind)))
    assert "give one of JPEG" in refused(saved)


def test_the_picture_inside_is_no_larger_than_told(saved: Path) -> None:
    rewrite(saved, jpeg=text(to_jpeg(np.zeros((3000, 3000, 3), np.uint8))))
    tracemalloc.start()
    try:
        refused(saved, "9 megapixels")
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()


def test_saving_fails_as_a_scene_error_alone(tmp_path: Path) -> None:
    for path in (tmp_path / "absent" / "a.npz", tmp_path, tmp_path / ("a" * 300), "a\0b"):
        with pytest.raises(SceneError, match="cannot be saved"):
            made().save(path)
    with pytest.raises(SceneError, match="cannot be saved"):
        replace(made(), picture=np.zeros((1, 70_000, 3), np.uint8)).save(tmp_path / "long.npz")
    assert list(tmp_path.iterdir()) == []
