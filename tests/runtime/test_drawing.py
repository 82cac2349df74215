"""Drawings keep the picture's size, show each answer, and leave the picture itself alone."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.frame import Frame
from engine.spec import DEFAULT
from runtime.drawing import COLOURS, draw
from runtime.drawing_shapes import blend, measure, pill, ring, shorten, write
from runtime.errors import ArgumentError, PictureError
from runtime.localization import Localization

Pixels = NDArray[np.uint8]
NO_BOXES = np.zeros((0, 4), dtype=np.float32)


def grey(height: int, width: int, level: int = 90) -> Pixels:
    """A plain picture (H, W, 3)."""
    return np.full((height, width, 3), level, dtype=np.uint8)


def answer(picture_hw: tuple[int, int], boxes: object = NO_BOXES, query: str = "a cat", present: bool = True) -> Localization:
    """An answer whose saliency is one bump in the middle."""
    ys, xs = np.mgrid[-1:1:7j, -1:1:7j]
    xyxy = np.asarray(boxes, dtype=np.float32).reshape(-1, 4)
    return Localization(
        query=query,
        xyxy=xyxy,
        scores=np.linspace(0.9, 0.5, len(xyxy), dtype=np.float32),
        present=present,
        map=np.exp(-3 * (xs**2 + ys**2)).astype(np.float32) * np.float32(present),
        frame=Frame.fit(picture_hw, 224, "squash"),
        spec=DEFAULT,
        kept=1,
        maps=2,
        margin=0.01,
        similarity=0.2,
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 400), (400, 1), (3, 2), (20, 20), (100, 100), (700, 90)])
@pytest.mark.parametrize("heat", [True, False])
def test_one_answer_keeps_the_pictures_size(shape: tuple[int, int], heat: bool) -> None:
    box = [[0, 0, shape[1], shape[0]]]
    for found in (answer(shape, box), answer(shape, present=False), answer(shape), [answer(shape, box)]):
        drawn = draw(grey(*shape), found, heat=heat)
        assert drawn.shape == (*shape, 3)
        assert drawn.dtype == np.uint8


def test_picture_is_left_alone() -> None:
    picture = grey(120, 160)
    picture.setflags(write=False)
    draw(picture, answer((120, 160), [[20, 30, 80, 90]]))
    draw(picture, [answer((120, 160), [[20, 30, 80, 90]])] * 3)
    assert (picture == 90).all()


def test_box_line_lies_just_outside_its_box() -> None:
    drawn = draw(grey(200, 300), answer((200, 300), [[100, 80, 180, 150]]), heat=False)
    colour = np.array(COLOURS[0])
    for y, x in ((79, 140), (150, 140), (115, 99), (115, 180)):
        np.testing.assert_array_equal(drawn[y, x], colour)
    assert (drawn[84:146, 104:176] == 90).all()
    assert (drawn[170:, :] == 90).all()


def test_box_of_the_whole_picture_stays_in_it() -> None:
    drawn = draw(grey(200, 300), answer((200, 300), [[0, 0, 300, 200]]), heat=False)
    np.testing.assert_array_equal(drawn[100, 0], COLOURS[0])
    np.testing.assert_array_equal(drawn[199, 150], COLOURS[0])


def test_heat_grows_with_saliency() -> None:
    drawn = draw(grey(210, 210), answer((210, 210)), heat=True).astype(int)
    change = np.abs(drawn - 90).sum(axis=2)
    assert change[0, 0] == 0
    assert change[105, 105] > change[105, 60] > change[105, 20]


def test_absent_answer_is_the_plain_picture_with_a_pill() -> None:
    picture = grey(200, 300)
    drawn = draw(picture, answer((200, 300), present=False))
    changed = (drawn != 90).any(axis=2)
    assert 0 < changed.mean() < 0.1
    assert not changed[:150].any()


def test_labels_do_not_hide_one_another() -> None:
    boxes = [[50, 100, 120, 160], [55, 100, 125, 160]]
    one, two = (draw(grey(240, 320), answer((240, 320), boxes[:n]), heat=False) for n in (1, 2))
    assert (two[78:96, 60:110] == one[78:96, 60:110]).all()


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
def test_several_answers_become_titled_panels(count: int) -> None:
    shape = (240, 400)
    answers = [answer(shape, [[50, 50, 100, 100]], query=f"thing {n}") for n in range(count)]
    sheet = draw(grey(*shape), answers, heat=False)
    shown = (sheet == 90).all(axis=2)
    assert 0.85 * count < shown.sum() / (240 * 400) < count
    assert (sheet[0] == 255).all()
    for number in range(min(count, len(COLOURS))):
        assert (sheet == COLOURS[number]).all(axis=2).any()


@pytest.mark.parametrize(("shape", "long"), [((40, 60), 360), ((3000, 2000), 1440), ((500, 500), 500)])
def test_panels_are_neither_tiny_nor_huge(shape: tuple[int, int], long: int) -> None:
    sheet = draw(grey(*shape), [answer(shape), answer(shape, present=False)])
    assert long < max(sheet.shape[:2]) < 2.3 * long


def test_no_answers_leave_the_picture() -> None:
    np.testing.assert_array_equal(draw(grey(5, 6), []), grey(5, 6))


def test_another_picture_is_refused() -> None:
    with pytest.raises(PictureError, match=r"30 x 20 pixels.*'a cat'.*31 x 20.*that was searched"):
        draw(grey(20, 30), answer((20, 31)))


@pytest.mark.parametrize("query", ["", " ", "x" * 3000, "猫\nここ", "🚌 bus", "a\tb"])
def test_any_words_can_be_drawn(query: str) -> None:
    found = answer((120, 160), [[20, 40, 80, 90]], query=query)
    assert draw(grey(120, 160), found).shape == (120, 160, 3)
    assert draw(grey(120, 160), [found, found]).ndim == 3


def test_words_are_cut_to_their_room() -> None:
    words = "an image of a red double-decker bus"
    assert shorten(words, 14, 1000) == words
    cut = shorten(words, 14, 120)
    assert cut.endswith("...")
    assert measure(cut, 14) <= 120
    assert shorten(words, 14, 3) == ""


def test_strokes_are_clipped_at_the_edges() -> None:
    canvas = grey(10, 10)
    ring(canvas, (-5, -5, 100, 5), 2, (255, 0, 0))
    pill(canvas, (-50, -50, -40, -40), 5, (0, 255, 0))
    write(canvas, "words", (-10, 30), 12, (0, 0, 255))
    blend(canvas, (8, 8, 12, 12), np.ones((4, 4), np.float32), (1, 2, 3))
    np.testing.assert_array_equal(canvas[9, 9], (1, 2, 3))
    np.testing.assert_array_equal(canvas[4, 2], (255, 0, 0))
    assert canvas.shape == (10, 10, 3)


def test_pill_is_smooth_and_half_covered_at_half_opacity() -> None:
    canvas = grey(40, 80, 0)
    pill(canvas, (10, 10, 70, 30), 10, (200, 200, 200), 0.5)
    assert (canvas[20, 40] == 100).all()
    assert (canvas[10, 10] == 0).all()
    assert len(np.unique(canvas)) > 5


def test_panels_are_muted_alike_whether_something_was_found_or_not() -> None:
    picture = np.full((300, 400, 3), (200, 60, 40), dtype=np.uint8)
    sheet = draw(picture, [answer((300, 400)), answer((300, 400), present=False)])
    corners = sheet[np.abs(sheet.astype(int) - (160, 76, 64)).max(axis=2) < 3]
    assert len(corners) > 2 * 0.2 * 300 * 400  # of both panels: the whole of the empty one, the edge of the other
    assert not (sheet == (200, 60, 40)).all(axis=2).any()


def test_several_answers_on_one_picture_have_their_own_colours_and_no_heat() -> None:
    shape = (240, 320)
    answers = [answer(shape, [[20, 60, 80, 120]], "a cat"), answer(shape, [[150, 60, 220, 120]], "a dog")]
    drawn = draw(grey(*shape), answers, together=True)
    assert drawn.shape == (*shape, 3)
    for number, x in ((0, 19), (1, 149)):
        np.testing.assert_array_equal(drawn[90, x], COLOURS[number])
    assert (drawn[180:, :] == 90).all()


def test_absent_answers_are_told_one_above_the_other() -> None:
    shape = (240, 320)
    one, two = (draw(grey(*shape), [answer(shape, present=False)] * n, together=True, heat=False) for n in (1, 2))
    changed = [int((drawn != 90).any(axis=2).sum()) for drawn in (one, two)]
    assert changed[1] == 2 * changed[0]


def test_masks_tint_what_is_bright_inside_the_boxes() -> None:
    found = answer((210, 210), [[60, 60, 150, 150]])
    drawn = draw(grey(210, 210), found, heat=False, masks=True)
    assert (drawn[105, 105] == np.rint(90 + 0.45 * (np.array(COLOURS[0]) - 90))).all()
    assert (drawn[105, 30] == 90).all()


def test_every_box_has_the_words() -> None:
    boxes = [[40, 60, 120, 110], [200, 60, 280, 110]]
    drawn = draw(grey(240, 400), answer((240, 400), boxes), heat=False)
    coloured = (drawn == COLOURS[0]).all(axis=2)[30:55]
    assert coloured[:, 40:140].sum() == pytest.approx(coloured[:, 200:300].sum(), rel=0.1)


def test_strength_is_how_much_heat_and_masks_cover() -> None:
    found = answer((210, 210), [[60, 60, 150, 150]])
    for way in ({"heat": True}, {"heat": False, "masks": True}):
        change = [
            int(np.abs(draw(grey(210, 210), found, strength=strength, **way)[105, 105].astype(int) - 90).sum())
            for strength in (0, 0.5, 1)
        ]
        assert change[0] == 0
        assert change[1] == pytest.approx(change[2] / 2, abs=3)
    with pytest.raises(ArgumentError, match=r"from 0 to 1\.5"):
        draw(grey(210, 210), found, strength=float("nan"))
