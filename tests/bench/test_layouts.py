"""Every public layout, made small: the same square is found in each, and what is odd is told by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.evaluate.data import DataError, DataSet, boxes_of
from bench.evaluate.layouts.coco import coco, cocoglide
from bench.evaluate.layouts.imagenet import imagenet, imagenet_s
from bench.evaluate.layouts.voc import CLASSES, voc
from bench.evaluate.layouts.wsol import wsol
from engine.metrics.max_box import SIDE
from tests.bench import layouts_made as made

CUB = "001.Black_footed_Albatross/one.jpg"
READERS: dict[str, tuple[Callable[[Path], DataSet], str]] = {
    "imagenet": (lambda root: imagenet(made.imagenet(root)), "tench"),
    "imagenet in archives": (lambda root: imagenet(made.imagenet(root, archives=True)), "tench"),
    "imagenet-s": (lambda root: imagenet_s(made.imagenet_s(root)), "tench"),
    "cub": (lambda root: wsol("cub", made.wsol(root, "CUB", "test", CUB)), "Black footed Albatross"),
    "imagenetv2": (lambda root: wsol("imagenetv2", named(made.wsol(root, "ILSVRC", "val", "val2/0/one.jpeg"))), "tench"),
    "openimages": (lambda root: wsol("openimages", made.openimages(root)), "book"),
    "coco": (lambda root: coco(made.coco(root)), "dog"),
    "voc": (lambda root: voc(made.voc(root)), "dining table"),
    "cocoglide": (lambda root: cocoglide(made.cocoglide(root)), "dining table"),
    "cocoglide, in-painted": (lambda root: cocoglide(made.cocoglide(root), fake=True), "dining table"),
}


def named(root: Path) -> Path:
    made.text(root / "synset_words.txt", "n00000001 tench, Tinca tinca\n")
    return root


@pytest.mark.parametrize("name", READERS)
def test_the_square_is_read_from_every_layout(name: str, tmp_path: Path) -> None:
    read, word = READERS[name]
    data = read(tmp_path)
    sample = data.read(0)
    thing = sample.things[0]
    assert data.labels[thing.label][0] == word
    assert sample.hw == sample.pixels().shape[:2] == made.HW
    assert thing.boxes is not None or thing.mask is not None
    if thing.boxes is not None:
        np.testing.assert_array_equal(thing.boxes, [made.BOX])
    if thing.mask is not None and name != "openimages":
        known = np.ones(made.HW, bool) if sample.ignore is None else ~sample.ignore
        np.testing.assert_array_equal(thing.mask & known, made.mask() & known)


def test_masks_of_openimages_lie_on_the_evaluators_grid(tmp_path: Path) -> None:
    sample = wsol("openimages", made.openimages(tmp_path)).read(0)
    assert sample.things[0].mask.shape == sample.ignore.shape == (SIDE, SIDE)
    assert sample.things[0].mask.mean() == pytest.approx(made.mask().mean(), abs=0.01)
    assert sample.ignore.mean() == pytest.approx(0.25, abs=0.01)


def test_archives_and_folders_hold_the_same(tmp_path: Path) -> None:
    plain, packed = imagenet(made.imagenet(tmp_path / "a")), imagenet(made.imagenet(tmp_path / "b", archives=True))
    assert plain.keys == packed.keys
    np.testing.assert_array_equal(plain.read(1).pixels(), packed.read(1).pixels())


def test_subsets_by_class_and_by_file(tmp_path: Path) -> None:
    made.imagenet(tmp_path, count=7)
    (tmp_path / "bbox_val/ILSVRC2012_val_00000007.xml").write_text("<annotation>")  # of no class
    by_class, by_file = imagenet(tmp_path, first_classes=1), imagenet(tmp_path).first(2)
    assert [key[-1] for key in by_class.keys] == ["1", "3", "5"]
    assert [key[-1] for key in by_file.keys] == ["1", "2"]
    assert (by_class.about["first_classes"], by_file.about["first_files"]) == (1, 2)


def test_crowds_are_ignored_pixels(tmp_path: Path) -> None:
    sample = coco(made.coco(tmp_path)).read(0)
    assert len(sample.things) == 1
    assert np.count_nonzero(sample.ignore) == 2
    assert coco(tmp_path, masks=False).read(0).things[0].mask is None


def test_polygons_are_those_of_the_public_code_or_refused(tmp_path: Path) -> None:
    made.coco(tmp_path, crowd=False)
    file = tmp_path / "annotations/instances_val2017.json"
    x0, y0, x1, y1 = made.BOX
    corners = str([[x0, y0, x1, y0, x1, y1, x0, y1]])
    words = file.read_text()
    start = words.index('{"counts"')
    file.write_text(words[:start] + corners + words[words.index("}", start) + 1 :])
    try:
        import pycocotools  # noqa: F401
    except ImportError:
        with pytest.raises(ModuleNotFoundError, match="pip install pycocotools, or ask for boxes alone"):
            coco(tmp_path).read(0)
    else:
        np.testing.assert_array_equal(coco(tmp_path).read(0).things[0].mask, made.mask())


def test_classes_of_voc_are_in_the_kits_own_order() -> None:
    assert (len(CLASSES), CLASSES[0], CLASSES[14], CLASSES[19]) == (20, "aeroplane", "person", "tv monitor")


def test_what_imagenet_lacks_is_told(tmp_path: Path) -> None:
    made.imagenet(tmp_path, count=1)
    (tmp_path / "synset_words.txt").write_text("tench\n")
    with pytest.raises(DataError, match="a line without a WordNet number"):
        imagenet(tmp_path)
    (tmp_path / "synset_words.txt").unlink()
    with pytest.raises(DataError, match=r"holds none of LOC_synset_mapping.txt, .*: expected a line per class"):
        imagenet(tmp_path)
    (tmp_path / "bbox_val/ILSVRC2012_val_00000001.xml").unlink()
    with pytest.raises(DataError, match="1 pictures and 0 XML files, none of the same name"):
        imagenet(named(tmp_path))


def test_other_folders_are_told(tmp_path: Path) -> None:
    for read in (lambda: wsol("cub", tmp_path), lambda: coco(tmp_path), lambda: voc(tmp_path), lambda: cocoglide(tmp_path)):
        with pytest.raises(DataError, match="expected"):
            read()
    with pytest.raises(DataError, match="is not there: expected the folder of the data set"):
        imagenet(tmp_path / "nowhere")


def test_odd_lines_of_metadata_are_told_with_their_number(tmp_path: Path) -> None:
    made.wsol(tmp_path, "CUB", "test", CUB)
    made.text(tmp_path / "metadata/CUB/test/localization.txt", f"{CUB},1,2,3\n")
    with pytest.raises(DataError, match=r"localization.txt`, line 1: expected 5 columns"):
        wsol("cub", tmp_path)


def test_odd_pictures_are_errors_of_that_picture(tmp_path: Path) -> None:
    made.imagenet(tmp_path, count=2)
    (tmp_path / "bbox_val/ILSVRC2012_val_00000001.xml").write_text("<annotation>")
    (tmp_path / "val/ILSVRC2012_val_00000002.JPEG").write_bytes(b"no picture")
    data = imagenet(tmp_path)
    with pytest.raises(DataError, match="is not one of a picture with objects"):
        data.read(0)
    with pytest.raises(DataError, match="cannot be read"):
        data.read(1).pixels()


def test_boxes_are_cut_to_the_picture() -> None:
    assert boxes_of([(-3, 2, 9, 50)], made.HW, "a").tolist() == [[0, 2, 9, 30]]
    with pytest.raises(DataError, match="`a` has no true box with an area"):
        boxes_of([(5, 5, 5, 9)], made.HW, "a")
