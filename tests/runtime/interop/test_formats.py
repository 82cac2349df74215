"""Every format, against files written by hand; the format's own library beside it where it is installed."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest

from runtime.errors import ArgumentError
from runtime.interop import (
    KINDS,
    box_masks,
    class_plane,
    detection_fields,
    mask_image,
    to_coco,
    to_cvat,
    to_label_studio,
    to_supervision,
    to_voc,
    to_yolo,
    write_labels,
)
from tests.runtime.interop import expected
from tests.runtime.interop.made import answer

BUS, DOG = expected.two_pictures()["street.jpg"]
TWO = expected.two_pictures()


def rounded(value: object) -> object:
    """JSON with float32's digits taken off."""
    return json.loads(json.dumps(value), parse_float=lambda text: round(float(text), 4))


def test_coco() -> None:
    assert rounded(to_coco(TWO)) == expected.COCO
    plain = to_coco(TWO, masks=False)["annotations"][1]
    assert (plain["segmentation"], plain["area"]) == ([], 240)


def test_yolo() -> None:
    assert to_yolo(TWO) == expected.YOLO
    assert to_yolo(TWO, scores=True)["street.txt"].splitlines()[1].endswith(" 0.7500")
    assert to_yolo({"a.jpg": answer("a\ndog", [])})["classes.txt"] == "a dog\n"


def test_voc() -> None:
    found = to_voc(TWO)
    assert found["street.xml"] == expected.VOC
    assert Xml.fromstring(found["empty.xml"]).findall("object") == []


def test_cvat() -> None:
    assert to_cvat(TWO) == expected.CVAT


def test_label_studio() -> None:
    assert rounded(to_label_studio(TWO, address="/data/{}")) == rounded(expected.LABEL_STUDIO)


def test_words_that_xml_forbids_leave_it_readable() -> None:
    odd = {"a&b\x01.jpg": answer('"\x00" & <dog>\ud800', [(1, 1, 9, 9, 0.5)])}
    assert Xml.fromstring(to_cvat(odd)).find("image/box").get("label") == '"\ufffd" & <dog>\ufffd'
    assert Xml.fromstring(to_voc(odd)["a&b\x01.xml"]).findtext("object/name") == '"\ufffd" & <dog>\ufffd'


def test_detections_have_the_fields_of_supervision() -> None:
    fields = detection_fields([DOG, BUS], masks=True)
    np.testing.assert_array_equal(fields["xyxy"], BUS.xyxy)
    assert fields["class_id"].tolist() == [1, 1]
    assert fields["data"]["class_name"].tolist() == ["a red <bus>"] * 2
    assert fields["mask"].sum(axis=(1, 2)).tolist() == [150, 240]
    nothing = detection_fields(DOG, masks=True)
    assert (len(nothing["xyxy"]), nothing["mask"]) == (0, None)


def test_a_missing_supervision_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "supervision", None)
    with pytest.raises(ArgumentError, match="pip install supervision"):
        to_supervision(BUS)


def test_masks() -> None:
    masks = box_masks(BUS)
    assert masks.shape == (2, 30, 40)
    assert masks[0, 5:20, 4:14].all()
    assert masks[0].sum() == 150
    assert np.asarray(mask_image(BUS)).sum() == 255 * 390
    plane = class_plane([BUS, answer("a cat", [(10, 5, 20, 20, 0.95)])])
    assert [int((plane == number).sum()) for number in (1, 2)] == [390 - 60, 150]
    assert box_masks(DOG).shape == (0, 30, 40)


def test_a_box_that_is_no_part_of_its_own_has_what_is_bright_in_it() -> None:
    joined = answer("a bus", [(4, 5, 14, 20, 0.9), (20, 10, 36, 25, 0.75)])
    object.__setattr__(joined, "xyxy", np.array([[4, 5, 36, 25]], np.float32))
    assert box_masks(joined).sum() == 390


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_written(kind: str, tmp_path: Path) -> None:
    target = write_labels(kind, tmp_path / "new" / "labels", TWO)
    files = sorted(path.name for path in target.iterdir()) if target.is_dir() else [target.name]
    assert files == {"voc": ["empty.xml", "street.xml"], "yolo": ["classes.txt", "empty.txt", "street.txt"]}.get(kind, ["labels"])


@pytest.mark.parametrize(
    ("answers", "part"),
    [(BUS, "must map file names"), ({"a": []}, r"answers\['a'\]"), ({"a": ["x"]}, "must be what `locate` gave")],
)
def test_other_things_are_refused(answers: object, part: str) -> None:
    with pytest.raises(ArgumentError, match=part):
        to_coco(answers)


def test_files_that_would_replace_one_another_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="share a yolo file"):
        write_labels("yolo", tmp_path, {"a/x.jpg": BUS, "b/x.jpg": BUS})
    with pytest.raises(ArgumentError, match="one of coco"):
        write_labels("csv", tmp_path / "x", TWO)
