"""Every bad picture is refused with words that say what was found and what to do."""

from __future__ import annotations

import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from runtime.errors import PictureError, VlscoreError
from runtime.pictures import MAX_PIXELS_VARIABLE, max_pixels, read_picture
from tests.runtime.samples import encoded, noise, png_claiming


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (np.zeros((5, 0), np.uint8), "no pixels"),
        (np.zeros((5, 5, 3), np.float32), r"float32.*\(array \* 255\)"),
        (np.full((5, 5, 3), 254.5), r"float64.*go up to 254.5, so pass `array.round\(\).astype\(np.uint8\)`"),
        (np.full((5, 5, 3), np.nan), r"float64.*\(array \* 255\)"),
        (np.zeros((5, 5, 3), bool), r"bool.*\* 255"),
        (np.zeros((5, 5), np.uint16), r"uint16.*// 257"),
        (np.zeros((5, 5), np.int64), r"int64.*astype"),
        (np.zeros((5, 5), object), "type object"),
        (np.zeros((5, 5, 2), np.uint8), r"\(5, 5, 2\).*channels"),
        (np.zeros((3, 50, 60), np.uint8), r"transpose\(1, 2, 0\)"),
        (np.zeros((1, 5, 5, 3), np.uint8), r"array\[0\]"),
        (np.zeros(12, np.uint8), r"\(12,\)"),
        (np.array(3, np.uint8), r"shape \(\)"),
    ],
)
def test_arrays_that_are_no_picture(array: NDArray[Any], words: str) -> None:
    with pytest.raises(PictureError, match=words):
        read_picture(array)


def closed_file() -> io.BytesIO:
    """A file that nobody can read any more."""
    file = io.BytesIO(b"abc")
    file.close()
    return file


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "None, which is what `cv2.imread` gives"),
        (3, "is a int; a path"),
        (["a.png"], "one at a time"),
        (io.StringIO("abc"), r"gives str, not bytes: open it with `open\(path, 'rb'\)`"),
        (closed_file(), r"cannot be read \(I/O operation on closed file"),
        (io.BytesIO(), r"no bytes left: `file\.seek\(0\)`"),
        (bytearray(b"abc"), "not a picture that can be read"),
    ],
)
def test_things_that_are_no_source(source: object, words: str) -> None:
    with pytest.raises(PictureError, match=words):
        read_picture(source)  # type: ignore[arg-type]


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "notes.txt").write_text("this is no picture")
    cases = {
        "": "empty path",
        str(tmp_path): "folder",
        str(tmp_path / "missing.png"): "does not exist in",
        str(tmp_path / "nowhere" / "a.png"): "nor does its folder",
        str(tmp_path / "empty.png"): "empty, 0 bytes",
        str(tmp_path / "notes.txt"): "not a picture that can be read.*give one of JPEG, PNG",
        "https://example.org/a.png": "download it first",
        "a\0b.png": "check the path",
        "a" * 5000 + ".png": "check the path",
        "/dev/null": "device",
    }
    for path, words in cases.items():
        with pytest.raises(PictureError, match=words) as caught:
            read_picture(path)
        assert isinstance(caught.value, VlscoreError)
        assert isinstance(caught.value, ValueError)
        assert "`picture`" in str(caught.value)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_file_without_permission(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(b"x")
    path.chmod(0)
    with pytest.raises(PictureError, match="ermission"):
        read_picture(path)


def test_bytes_that_are_no_picture() -> None:
    cases = {b"": "empty", b"\0": "not a picture", b"GIF89a": "damaged", b"%!PS-Adobe": "not a picture"}
    for data, words in cases.items():
        with pytest.raises(PictureError, match=words):
            read_picture(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.8])
@pytest.mark.filterwarnings("ignore")
def test_truncated_files(kind: str, fraction: float) -> None:
    data = encoded(Image.fromarray(noise(60, 60)), kind)
    with pytest.raises(PictureError, match=r"damaged or cut short|not a picture"):
        read_picture(data[: int(len(data) * fraction)])


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM"]), st.data())
def test_damage_never_escapes_as_another_error(kind: str, data: st.DataObject) -> None:
    file = bytearray(encoded(Image.fromarray(noise(12, 9)), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = read_picture(bytes(file))
        except PictureError:
            return
    assert found.dtype == np.uint8
    assert found.shape[2] == 3


def test_closed_and_zero_sized_pil_images(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(noise(4, 4)).save(path)
    image = Image.open(path)
    image.close()
    with pytest.raises(PictureError, match="damaged"):
        read_picture(image)
    with pytest.raises(PictureError, match=r"no pixels, it is 0 x 5"):
        read_picture(Image.new("RGB", (0, 5)))


def refuse_to_load(image: ImageFile.ImageFile) -> None:
    """Stands in for the decoding of pixels."""
    raise AssertionError(f"the pixels of {image} were decoded")


def test_bomb_is_refused_before_its_pixels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse_to_load)
    bomb = png_claiming(60_000, 50_000)
    (tmp_path / "bomb.png").write_bytes(bomb)
    for source in (bomb, tmp_path / "bomb.png"):
        with pytest.raises(PictureError, match=r"60000 x 50000 = 3000 mega.*VLSCORE_MAX_PIXELS=3000000000"):
            read_picture(source)


def test_limit_is_ours_alone_in_every_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's own limit, which belongs to the process and warns, is neither used nor changed."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    bomb, fine = png_claiming(20_000, 20_000), encoded(Image.fromarray(noise(40, 40)), "PNG")

    def read(data: bytes) -> str:
        try:
            return str(read_picture(data).shape)
        except PictureError as error:
            return "refused" if "megapixels" in str(error) else str(error)

    with warnings.catch_warnings(), ThreadPoolExecutor(8) as threads:
        warnings.simplefilter("error")
        found = list(threads.map(read, [bomb, fine] * 40))
    assert found == ["refused", "(40, 40, 3)"] * 40
    assert Image.MAX_IMAGE_PIXELS == 10


def test_limit_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(noise(10, 10)), "PNG")
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "99")
    with pytest.raises(PictureError, match="10 x 10"):
        read_picture(data)
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, "100")
    assert read_picture(data).shape == (10, 10, 3)
    monkeypatch.delenv(MAX_PIXELS_VARIABLE)
    assert max_pixels() == 200_000_000


def test_order_of_colours_belongs_to_arrays() -> None:
    with pytest.raises(PictureError, match="`bgr` speaks of arrays, and `picture` is a bytes"):
        read_picture(b"abc", bgr=True)


@pytest.mark.parametrize("text", ["many", "0", "-5", "1e9", "9" * 5000, "²"])
def test_limit_must_be_a_number(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(MAX_PIXELS_VARIABLE, text)
    with pytest.raises(PictureError, match="whole number of pixels"):
        read_picture(encoded(Image.fromarray(noise(2, 2)), "PNG"))
