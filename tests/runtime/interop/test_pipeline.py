"""The call of `transformers`' pipeline: the same arguments, the same output."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.errors import ArgumentError
from runtime.interop import ZeroShotDetector, pipeline
from runtime.localization import Localization
from runtime.localizer import Localizer
from tests.runtime.interop.made import answer

BOXES = {"cat": [(4, 5, 14, 20, 0.3), (1, 1, 2, 2, 0.05)], "couch": [(20, 10, 36, 25, 0.9)]}
COUCH = {"score": pytest.approx(0.9), "label": "couch", "box": {"xmin": 20, "ymin": 10, "xmax": 36, "ymax": 25}}
CAT = {"score": pytest.approx(0.3), "label": "cat", "box": {"xmin": 4, "ymin": 5, "xmax": 14, "ymax": 20}}


class Fake(Localizer):
    """Answers from a table."""

    def __init__(self) -> None:
        pass

    def __call__(self, picture: Any, query: Any, *, progress: Any = None) -> list[Localization]:
        return [answer(label, BOXES.get(label, [])) for label in query]


@pytest.fixture
def detector() -> ZeroShotDetector:
    return pipeline("zero-shot-object-detection", model=Fake())


def test_one_picture_gives_boxes_best_first(detector: ZeroShotDetector) -> None:
    assert detector("a.jpg", candidate_labels=["cat", "couch", "dog"]) == [COUCH, CAT]
    assert detector("a.jpg", candidate_labels="cat,couch", threshold=0.5) == [COUCH]
    assert detector("a.jpg", candidate_labels=["cat", "couch"], top_k=1) == [COUCH]
    assert detector({"image": "a.jpg", "candidate_labels": ["cat"]}) == [CAT]


def test_several_pictures_give_a_list_each(detector: ZeroShotDetector) -> None:
    assert detector([{"image": "a.jpg", "candidate_labels": ["cat"]}, {"image": "b.jpg", "candidate_labels": "couch"}]) == [
        [CAT],
        [COUCH],
    ]
    assert detector(["a.jpg", "b.jpg"], candidate_labels=[["cat"], ["couch"]]) == [[CAT], [COUCH]]
    assert detector(["a.jpg", "b.jpg"], candidate_labels=["cat"]) == [[CAT], [CAT]]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("a.jpg",), "no `candidate_labels`"),
        ((["a.jpg"], [["cat"], ["dog"]]), "2 pictures, and there are 1"),
        (([{"image": "a.jpg"}],), "needs `image` and `candidate_labels`, found image"),
    ],
)
def test_what_is_missing_is_told(detector: ZeroShotDetector, arguments: tuple[Any, ...], part: str) -> None:
    with pytest.raises(ArgumentError, match=part):
        detector(*arguments)


def test_other_tasks_are_refused() -> None:
    with pytest.raises(ArgumentError, match="`task` must be"):
        pipeline("image-classification")
    with pytest.raises(ArgumentError, match="preset cannot change it"):
        pipeline(model=Fake(), preset="fast")
