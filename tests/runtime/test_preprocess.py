"""The square of pixels is CLIP's own, bit for bit, and its frame says where the pixels came from."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engine.frame import Frame
from runtime.preprocess import RIBBON, fit_to_square

Pixels = NDArray[np.uint8]
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SHAPES = [
    (375, 500),
    (500, 333),
    (480, 640),
    (450, 300),
    (256, 256),
    (224, 224),
    (225, 1001),
    (40, 31),
    (7, 200),
    (3, 3),
]


def noise(height: int, width: int) -> Pixels:
    """Random u8 pixels (H, W, 3)."""
    rng = np.random.default_rng(height * 10_000 + width)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [224, 288])
@pytest.mark.parametrize("geometry", ["crop", "stretch"])
def test_crop_is_bit_identical_to_clip(shape: tuple[int, int], side: int, geometry: Literal["crop", "stretch"]) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    theirs = transforms.Compose(
        [
            transforms.Resize(side, transforms.InterpolationMode.BICUBIC, antialias=True),
            transforms.CenterCrop(side),
        ]
    )
    picture = noise(*shape)
    ours, frame = fit_to_square(picture, side, geometry, "bicubic", MEAN)
    np.testing.assert_array_equal(ours, np.asarray(theirs(Image.fromarray(picture))))
    assert frame == Frame.fit(shape, side, geometry)
    assert ours.flags.c_contiguous


@pytest.mark.parametrize("shape", SHAPES[:6])
def test_crop_normalises_to_what_open_clip_gives(shape: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    open_clip = pytest.importorskip("open_clip")
    theirs = open_clip.image_transform(224, is_train=False, mean=MEAN, std=STD, interpolation="bicubic")
    picture = noise(*shape)
    ours, _ = fit_to_square(picture, 224, "crop", "bicubic", MEAN)
    planes = torch.from_numpy(ours).permute(2, 0, 1).float().div(255)
    normal = (planes - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    assert torch.equal(normal, theirs(Image.fromarray(picture)))


@pytest.mark.parametrize("shape", [*SHAPES[:5], (1, 1), (1, 5000), (5000, 1)])
@pytest.mark.parametrize("resample", ["bicubic", "bilinear"])
def test_squash_shows_the_whole_picture(shape: tuple[int, int], resample: Literal["bicubic", "bilinear"]) -> None:
    picture = noise(*shape)
    ours, frame = fit_to_square(picture, 64, "squash", resample, MEAN)
    kernel = Image.Resampling[resample.upper()]
    np.testing.assert_array_equal(ours, np.asarray(Image.fromarray(picture).resize((64, 64), kernel)))
    assert frame.resized_hw == (64, 64)


@pytest.mark.parametrize("shape", [*SHAPES, (1, 1), (1, 5000), (5000, 1)])
def test_letterbox_lays_the_picture_on_the_mean_colour(shape: tuple[int, int]) -> None:
    picture = noise(*shape)
    ours, frame = fit_to_square(picture, 64, "letterbox", "bicubic", MEAN)
    (height, width), (top, left) = frame.resized_hw, (-frame.offset_yx[0], -frame.offset_yx[1])
    seen = np.zeros((64, 64), dtype=bool)
    seen[top : top + height, left : left + width] = True
    assert seen.sum() == height * width
    assert (ours[~seen] == (123, 117, 104)).all()
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(ours[seen].reshape(height, width, 3), np.asarray(resized))


@pytest.mark.parametrize("shape", [(2, 2 * RIBBON + 3), (2 * RIBBON + 3, 2), (5, 1000), (100, 3400), (1, 999)])
def test_ribbon_is_cropped_as_if_resized_whole(shape: tuple[int, int]) -> None:
    side = 32
    picture = noise(*shape)
    ours, frame = fit_to_square(picture, side, "crop", "bicubic", MEAN)
    assert max(frame.resized_hw) > RIBBON * side
    height, width = frame.resized_hw
    whole = np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))
    top, left = frame.offset_yx
    expected = whole[top : top + side, left : left + side]
    assert np.abs(ours.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("shape", [(1, 3_000_000), (3_000_000, 1)])
def test_endless_ribbon_takes_no_memory(shape: tuple[int, int]) -> None:
    """Resized whole it would hold 2 terabytes."""
    picture = np.full((*shape, 3), (9, 99, 199), dtype=np.uint8)
    ours, _ = fit_to_square(picture, 224, "crop", "bicubic", MEAN)
    assert (ours == (9, 99, 199)).all()


@pytest.mark.parametrize("geometry", ["crop", "stretch", "squash", "letterbox"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (20, 30), (64, 64)])
def test_pixels_are_owned_and_the_picture_is_left_alone(
    geometry: Literal["crop", "stretch", "squash", "letterbox"], shape: tuple[int, int]
) -> None:
    picture = noise(*shape)
    picture.setflags(write=False)
    before = picture.copy()
    ours, frame = fit_to_square(picture, 64, geometry, "bicubic", MEAN)
    assert ours.shape == (64, 64, 3)
    assert ours.dtype == np.uint8
    assert frame.picture_hw == shape
    ours[:] = 0
    np.testing.assert_array_equal(picture, before)
