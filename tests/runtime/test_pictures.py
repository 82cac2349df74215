"""Every odd picture is read, upright and opaque, into pixels that the reader owns."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime.errors import PictureError
from runtime.pictures import Picture, read_picture
from tests.runtime.samples import Pixels, encoded, noise

SHAPES = [(1, 1), (1, 50), (50, 1), (7, 13), (64, 20)]


def assert_owned_rgb(found: Pixels, height: int, width: int) -> None:
    """The promise of every reading: the shape, u8, in one writable piece."""
    assert found.shape == (height, width, 3)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert found.flags.writeable


@pytest.mark.parametrize(("height", "width"), SHAPES)
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_files_of_any_shape(kind: str, height: int, width: int) -> None:
    pixels = noise(height, width)
    found = read_picture(encoded(Image.fromarray(pixels), kind))
    assert_owned_rgb(found, height, width)
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "JPEG2000"])
def test_lossy_files(kind: str) -> None:
    if kind not in Image.SAVE:
        Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"this build of Pillow cannot write {kind}")
    pixels = np.full((40, 60, 3), (200, 100, 50), dtype=np.uint8)
    found = read_picture(encoded(Image.fromarray(pixels), kind))
    assert_owned_rgb(found, 40, 60)
    assert np.abs(found.astype(int) - pixels).max() <= 6


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    pixels = noise(11, 17)
    path = tmp_path / "a picture, é.png"
    Image.fromarray(pixels).save(path)
    with Image.open(path) as lazy:
        data = path.read_bytes()
        files: list[Picture] = [path, str(path), path.open("rb"), io.BytesIO(data)]
        sources: list[Picture] = [*files, data, bytearray(data), memoryview(data), Image.fromarray(pixels), lazy, pixels]
        for source in sources:
            np.testing.assert_array_equal(read_picture(source), pixels)


def test_ending_of_the_name_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "wrong.jpg"
    path.write_bytes(encoded(Image.fromarray(noise(5, 6)), "PNG"))
    np.testing.assert_array_equal(read_picture(path), noise(5, 6))


def test_grey_and_one_bit() -> None:
    grey = noise(9, 5, 0)
    np.testing.assert_array_equal(read_picture(encoded(Image.fromarray(grey), "PNG"))[:, :, 1], grey)
    bits = Image.fromarray(grey).convert("1")
    found = read_picture(encoded(bits, "PNG"))
    assert set(np.unique(found)) == {0, 255}
    np.testing.assert_array_equal(found[:, :, 0] > 0, np.asarray(bits))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa", "La", "PA"])
def test_transparent_is_white_and_opaque_is_kept(mode: str) -> None:
    rgba = np.zeros((1, 2, 4), dtype=np.uint8)
    rgba[0, 1] = (51, 51, 51, 255)
    image = Image.fromarray(rgba)
    if mode in ("LA", "La"):
        image = image.convert("LA")
    if mode == "PA":
        image = image.convert("RGB").convert("P").convert("PA")
        image.putalpha(Image.fromarray(rgba[:, :, 3]))
    image = image.convert(mode) if image.mode != mode else image
    assert image.mode == mode
    np.testing.assert_array_equal(read_picture(image), [[[255] * 3, [51] * 3]])


def test_half_transparent_is_mixed_with_white() -> None:
    rgba = np.array([[[0, 100, 200, 128]]], dtype=np.uint8)
    expected = np.array([0, 100, 200]) * 128 / 255 + 255 * 127 / 255
    for source in (rgba, Image.fromarray(rgba), encoded(Image.fromarray(rgba), "PNG")):
        assert np.abs(read_picture(source)[0, 0] - expected).max() <= 1


def test_palette_with_and_without_transparency() -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    plain = [[10, 20, 30], [40, 50, 60], [70, 80, 90]]
    np.testing.assert_array_equal(read_picture(encoded(image, "PNG"))[0], plain)
    clear = [plain[0], [255] * 3, plain[2]]
    np.testing.assert_array_equal(read_picture(encoded(image, "PNG", transparency=1))[0], clear)
    np.testing.assert_array_equal(read_picture(encoded(image, "GIF", transparency=1))[0], clear)
    levels = bytes([255, 0, 255])
    np.testing.assert_array_equal(read_picture(encoded(image, "PNG", transparency=levels))[0], clear)


def test_transparent_colour_of_rgb_and_grey() -> None:
    rgb = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8))
    found = read_picture(encoded(rgb, "PNG", transparency=(1, 2, 3)))
    np.testing.assert_array_equal(found[0], [[255] * 3, [4, 5, 6]])
    grey = Image.fromarray(np.array([[7, 9]], dtype=np.uint8))
    np.testing.assert_array_equal(read_picture(encoded(grey, "PNG", transparency=7))[0, :, 0], [255, 9])


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled(kind: str) -> None:
    deep = np.array([[0, 128, 129, 257, 32896, 65535]], dtype=np.uint16)
    found = read_picture(encoded(Image.fromarray(deep), kind))
    np.testing.assert_array_equal(found[0, :, 0], [0, 0, 1, 1, 128, 255])
    assert_owned_rgb(found, 1, 6)


def test_big_endian_sixteen_bits_and_transparent_shade() -> None:
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 65535, 257))
    np.testing.assert_array_equal(read_picture(image)[0, :, 2], [255, 1])
    image = Image.fromarray(np.array([[500, 257]], dtype=np.uint16))
    image.info["transparency"] = 257
    np.testing.assert_array_equal(read_picture(image)[0, :, 0], [2, 255])


def test_whole_numbers_of_unstated_depth() -> None:
    eight = np.array([[0, 7, 255]], dtype=np.int32)
    np.testing.assert_array_equal(read_picture(Image.fromarray(eight))[0, :, 0], [0, 7, 255])
    sixteen = np.array([[0, 257, 65535]], dtype=np.int32)
    np.testing.assert_array_equal(read_picture(Image.fromarray(sixteen))[0, :, 0], [0, 1, 255])
    with pytest.raises(PictureError, match=r"from -1 to 70000.*scale it to 8 bits"):
        read_picture(Image.fromarray(np.array([[-1, 70000]], dtype=np.int32)))


def test_float_pictures_from_zero_to_one_only() -> None:
    found = read_picture(Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32)))
    np.testing.assert_array_equal(found[0, :, 0], [0, 128, 255])
    for bad in ([[0, 255]], [[-0.5, 1]], [[np.nan, 1]]):
        with pytest.raises(PictureError, match="of floats only 0 to 1"):
            read_picture(Image.fromarray(np.array(bad, dtype=np.float32)))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr"])
def test_printing_and_video_colours(mode: str) -> None:
    pixels = np.full((16, 16, 3), (220, 40, 60), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    for source in (image, encoded(image, "JPEG", quality=95), encoded(image, "TIFF")):
        assert np.abs(read_picture(source).astype(int) - pixels).max() <= 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_camera_orientation(kind: str, orientation: int) -> None:
    upright = np.zeros((48, 80, 3), dtype=np.uint8)
    upright[:24, :40], upright[:24, 40:], upright[24:, :40] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    stored: dict[int, Callable[[Pixels], Pixels]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: np.rot90,
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    image = Image.fromarray(np.ascontiguousarray(stored[orientation](upright)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"exif": exif, **({"lossless": True} if kind == "WEBP" else {})}
    data = encoded(image, kind, **options)
    with Image.open(io.BytesIO(data)) as opened:
        for found in (read_picture(data), read_picture(opened)):
            assert_owned_rgb(found, 48, 80)
            assert np.abs(found[4::40, 4::40].astype(int) - upright[4::40, 4::40]).max() <= 8


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_meaningless_orientation_is_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = read_picture(encoded(Image.fromarray(noise(4, 6)), "PNG", exif=exif))
    np.testing.assert_array_equal(found, noise(4, 6))


@pytest.mark.filterwarnings("ignore")
def test_unreadable_exif_is_ignored() -> None:
    data = encoded(Image.fromarray(noise(8, 8)), "JPEG", exif=b"Exif\0\0MM\0*garbage that is no directory")
    assert_owned_rgb(read_picture(data), 8, 8)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    assert np.abs(read_picture(data).astype(int) - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (4, 6, 4), (1, 1), (1, 1, 3)])
def test_arrays(shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    if shape[-1] == 4:
        array[..., 3] = 255
    before = array.copy()
    array.setflags(write=False)
    found = read_picture(array)
    assert_owned_rgb(found, *shape[:2])
    assert not np.shares_memory(found, array)
    np.testing.assert_array_equal(array, before)
    planes = before[:, :, :3] if before.ndim == 3 else before[:, :, np.newaxis]
    np.testing.assert_array_equal(found, np.broadcast_to(planes, found.shape))


@pytest.mark.parametrize("channels", [0, 3, 4])
def test_arrays_in_any_memory_order(channels: int) -> None:
    base = noise(8, 10, channels)
    for view in (base[::2, ::-1], base[1:, 3:], np.asfortranarray(base), base.swapaxes(0, 1)):
        view.setflags(write=False)
        np.testing.assert_array_equal(read_picture(view), read_picture(np.ascontiguousarray(view)))


@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_arrays_in_the_order_of_opencv(channels: int) -> None:
    array = noise(6, 7, channels)
    swapped = array if channels < 3 else array[..., [2, 1, 0, 3][:channels]]
    np.testing.assert_array_equal(read_picture(array, bgr=True), read_picture(swapped))


def test_pil_image_is_left_as_it_is() -> None:
    image = Image.fromarray(noise(5, 4, 4))
    before = image.tobytes()
    read_picture(image)[:] = 0
    assert (image.mode, image.tobytes()) == ("RGBA", before)
