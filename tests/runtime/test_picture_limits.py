"""A stranger's picture costs no more than was allowed, whatever its few bytes announce, and nothing is printed about it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, TiffImagePlugin

from runtime import picture_process
from runtime.errors import PictureError
from runtime.picture_formats import FORMATS, count_scans
from runtime.pictures import PictureLimits, from_file, read_picture
from tests.runtime.samples import encoded, noise
from tests.torture import attacks

TELL = "from runtime.picture_process import ANSWER; import os; os.write(1, ANSWER.pack({}))"
GREEDY = """
from runtime import picture_process, pictures
pictures.from_file = lambda *_: bytearray(1 << 33)
picture_process.child()
"""
FLAT = Image.new("RGB", (80, 60), (200, 100, 50))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (attacks.jpeg_of_scans(64, 64, 101), "JPEG.* has more than 100 scans"),
        (attacks.jpeg_of_scans(1600, 1600, 90), r"1600 x 1600 = 3 mega.* at most 2.22222 of this costly kind"),
        (attacks.run_length_bmp(90_000, 200), "BMP.* 90000 x 200 = 18 megapixels, and at most 1.66667 of this costly kind"),
        (attacks.webp_animation(13_000, 13_000), "WEBP.* 169 megapixels, and at most 5 of this costly kind"),
        (attacks.png_ribbon(1, 150_000), "PNG.* 1 x 150000, and sides of at most 100000 pixels"),
        (attacks.gif_frame(60_000, 60_000), "GIF.* 60000 x 60000 = 3600 megapixels"),
    ],
)
def test_what_costs_much_is_refused_by_its_header(data: bytes, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(image: Image.Image) -> None:
        raise AssertionError(f"the pixels of {image} were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with pytest.raises(PictureError, match=words):
        read_picture(data, PictureLimits(pixels=20_000_000))


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (attacks.jpeg_of_scans(64, 48, 100), (48, 64)),
        (attacks.run_length_bmp(300, 20), (20, 300)),
        (attacks.webp_animation(40, 30), (30, 40)),
        (attacks.png_ribbon(1, 5_000), (5_000, 1)),
        (attacks.gif_frame(1, 1), (1, 1)),
    ],
)
def test_the_same_kinds_are_read_when_they_are_small(data: bytes, size: tuple[int, int]) -> None:
    assert read_picture(data).shape[:2] == size


def test_a_jpeg_2000_counts_eight_times() -> None:
    Image.init()
    if "JPEG2000" not in Image.SAVE:
        pytest.skip("this build of Pillow cannot write JPEG 2000")
    data = encoded(Image.new("L", (400, 300)), "JPEG2000")
    assert read_picture(data, PictureLimits(pixels=960_000)).shape == (300, 400, 3)
    with pytest.raises(PictureError, match=r"of this costly kind.*allow `pixels=960000`"):
        read_picture(data, PictureLimits(pixels=959_999))


def test_scans_are_counted_as_a_decoder_would() -> None:
    noisy = Image.fromarray(noise(90, 120))
    thumbnail = encoded(FLAT, "JPEG")
    hidden = b"\xff\xe2" + (2 + len(thumbnail) * 3).to_bytes(2, "big") + thumbnail * 3  # scans within a note are none
    plain = encoded(noisy, "JPEG", quality=98)
    assert count_scans(plain, 100) == 1
    assert count_scans(plain[:2] + hidden + plain[2:], 100) == 1
    assert count_scans(plain + thumbnail * 300, 100) == 1  # nor are those of what follows the picture
    assert count_scans(encoded(noisy, "JPEG", progressive=True), 100) == 10
    assert count_scans(attacks.jpeg_of_scans(64, 64, 77), 100) == 77
    assert count_scans(attacks.jpeg_of_scans(64, 64, 500), 100) == 101
    split = attacks.jpeg_of_scans(64, 64, 50)
    note = b"\xff\xfe\x00\x06\xff\xd9\xff\xd9"  # an end of the picture that is none
    assert count_scans(split.replace(b"\xff\xda", note + b"\xff\xda"), 100) == 50
    assert [count_scans(data, 9) for data in (b"", b"\xff\xd8", b"\xff\xd8\xff\xda", b"\xff\xd8\xff")] == [0, 0, 1, 0]


@pytest.mark.parametrize("kind", [kind for kind in FORMATS if kind != "JPEG"])
def test_a_shorter_list_of_formats_is_kept_to(kind: str) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this build of Pillow cannot write {kind}")
    data = encoded(FLAT, kind)
    with pytest.raises(PictureError, match="give one of JPEG, or"):
        from_file(io.BytesIO(data), len(data), "inside", PictureLimits(), formats=("JPEG",))


def test_no_program_is_started_for_a_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: Any, **__: Any) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", start)
    for drawing in (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\xc5\xd0\xd3\xc6" + bytes(60)):
        with pytest.raises(PictureError, match="not a picture that can be read"):
            read_picture(drawing)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "JPEG2000", "PPM"])
def test_the_limit_of_the_host_application_counts_for_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this build of Pillow cannot write {kind}")
    options = {"compression": "tiff_lzw"} if kind == "TIFF" else {}
    data = encoded(FLAT, kind, **options)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_picture(data).shape == (60, 80, 3)
        with pytest.raises(PictureError, match=r"80 x 60 .*allow `pixels=\d+`"):
            read_picture(data, PictureLimits(pixels=60 * 80 - 1))
    assert Image.MAX_IMAGE_PIXELS == 10
    assert "Image" in vars(TiffImagePlugin)
    assert TiffImagePlugin.Image is Image


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "group4", "raw"])
def test_damaged_tiffs_print_nothing(compression: str, capfd: pytest.CaptureFixture[str]) -> None:
    image = Image.fromarray(noise(40, 40)).convert("1" if compression == "group4" else "RGB")
    data = encoded(image, "TIFF", compression=None if compression == "raw" else compression)
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(60):
            file = bytearray(data)
            for at in rng.integers(0, len(file), 8).tolist() + rng.integers(len(file) - 200, len(file), 2).tolist():
                file[at] = int(rng.integers(256))
            with contextlib.suppress(PictureError):
                read_picture(bytes(file))
    assert capfd.readouterr().err == ""


def test_the_library_prints_again_for_others_afterwards(capfd: pytest.CaptureFixture[str]) -> None:
    broken = encoded(FLAT, "TIFF", compression="tiff_adobe_deflate")
    at = int.from_bytes(broken[4:8], "little")
    broken = broken[:9] + bytes(at - 9) + broken[at:] if at > 20 else broken[:-40] + bytes(40)
    with pytest.raises(PictureError, match="damaged"):
        read_picture(broken)
    assert capfd.readouterr().err == ""
    with pytest.raises(OSError, match="error"), Image.open(io.BytesIO(broken)) as image:
        image.load()
    assert capfd.readouterr().err != ""


def test_odd_notes_of_a_camera_are_no_reason_to_warn(caplog: pytest.LogCaptureFixture) -> None:
    notes = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\x01\0\0\0\x03\0\0\0"
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG, logger="nothing"):
        warnings.simplefilter("error")
        for kind in ("JPEG", "PNG", "WEBP"):
            picture = Image.fromarray(noise(8, 9))
            options = {"lossless": True} if kind == "WEBP" else {}
            found, plain = (
                read_picture(encoded(picture, kind, exif=notes, **options)),
                read_picture(encoded(picture, kind, **options)),
            )
            np.testing.assert_array_equal(found, plain[::-1, ::-1])


class TestInAProcessOfItsOwn:
    """`seconds` puts a bound on time and memory."""

    def test_the_pixels_are_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "a.png"
        Image.fromarray(noise(50, 70)).save(path)
        limits = PictureLimits(seconds=60)
        for source in (path, path.read_bytes()):
            found = read_picture(source, limits)
            np.testing.assert_array_equal(found, noise(50, 70))
            assert found.flags.writeable

    def test_refusals_are_the_same(self) -> None:
        for data in (b"nothing", attacks.jpeg_of_scans(64, 64, 120), encoded(FLAT, "PNG")[:60]):
            told = []
            for limits in (PictureLimits(), PictureLimits(seconds=60)):
                with pytest.raises(PictureError) as caught:
                    read_picture(data, limits)
                told.append(str(caught.value))
            assert told[0] == told[1]

    def test_it_ends_when_the_time_is_up(self) -> None:
        with pytest.raises(PictureError, match=r"takes more than 0\.01 seconds to decode"):
            read_picture(encoded(FLAT, "PNG"), PictureLimits(seconds=0.01))

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", rf"status -{int(signal.SIGSEGV)}"),
            (TELL.format("True, 100_000, 100_000"), "is damaged"),
            (TELL.format("True, 10, 10"), "is damaged"),
            (TELL.format("False, 9, 0"), "^$"),
            ("print('no answer', flush=True)", "is damaged"),
            ("", r"status 0.*is damaged"),
        ],
    )
    def test_a_process_that_fails_is_a_refusal(self, command: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(picture_process, "COMMAND", command)
        with pytest.raises(PictureError, match=words):
            read_picture(encoded(FLAT, "PNG"), PictureLimits(seconds=60))

    def test_memory_has_an_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(picture_process, "COMMAND", GREEDY)
        with pytest.raises(PictureError, match=r"ended the process that decoded it \(status 1\)"):
            read_picture(encoded(FLAT, "PNG"), PictureLimits(pixels=1_000_000, seconds=60))

    def test_without_python_it_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "executable", os.devnull + "/python")
        with pytest.raises(PictureError, match="leave `seconds` out"):
            read_picture(encoded(FLAT, "PNG"), PictureLimits(seconds=60))


@pytest.mark.parametrize(
    "options",
    [{"pixels": 0}, {"pixels": 1.5}, {"side": -1}, {"scans": True}, {"seconds": 0}, {"seconds": float("nan")}, {"seconds": "1"}],
)
def test_limits_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(PictureError, match="of the picture limits is"):
        PictureLimits(**options)
