"""Tensors as pictures, by DLPack: PyTorch's own, and ones that cannot be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from runtime.errors import PictureError
from runtime.pictures import read_picture
from tests.runtime.samples import noise

PIXELS = noise(6, 5)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.from_numpy(PIXELS),
        torch.from_numpy(PIXELS).permute(2, 0, 1),
        torch.from_numpy(PIXELS).permute(2, 0, 1).float() / 255,
        torch.from_numpy(PIXELS).double() / 255,
    ],
    ids=["bytes", "channels-first", "floats", "doubles"],
)
def test_tensors_are_read_as_they_are_usually_kept(tensor: torch.Tensor) -> None:
    before = tensor.clone()
    pixels = read_picture(tensor)
    np.testing.assert_array_equal(pixels, PIXELS)
    pixels[:] = 0
    assert torch.equal(tensor, before)


def test_bgr_and_grey_tensors() -> None:
    np.testing.assert_array_equal(read_picture(torch.from_numpy(PIXELS).permute(2, 0, 1), bgr=True), PIXELS[:, :, ::-1])
    grey = read_picture(torch.from_numpy(PIXELS[:, :, 0].copy())[None])
    np.testing.assert_array_equal(grey, PIXELS[:, :, :1].repeat(3, axis=2))


class OnCard:
    """A tensor that lies on a card."""

    def __dlpack__(self, *, stream: Any = None) -> Any:
        raise AssertionError("never read")

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)


@pytest.mark.parametrize(
    ("tensor", "part"),
    [
        (OnCard(), r"OnCard on a card; pass `tensor.cpu\(\)`"),
        (torch.rand(3, 4, 5, requires_grad=True), r"pass `tensor.detach\(\)"),
        (torch.randn(3, 40, 50), "floats must run from 0 to 1"),
        (torch.full((3, 4, 5), float("nan")), "floats must run from 0 to 1"),
        (torch.zeros(2, 3, 4, 5), r"one picture of the batch at a time"),
        (torch.zeros(3, 4, 5, dtype=torch.int64), "u8 values from 0 to 255 are needed"),
        (torch.zeros(3, 4, 5, dtype=torch.bfloat16), "cannot be read"),
    ],
    ids=["card", "gradient", "normalised", "nan", "batch", "integers", "bfloat16"],
)
def test_other_tensors_are_told_how_to_become_pictures(tensor: object, part: str) -> None:
    with pytest.raises(PictureError, match=part):
        read_picture(tensor)
