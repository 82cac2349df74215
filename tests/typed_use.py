"""The public interface as users write it, for the type checker: `mypy --strict tests/typed_use.py`. It is not run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from runtime import (
    BundleError,
    DeviceError,
    Label,
    Localization,
    Localizer,
    PictureError,
    Query,
    QueryError,
    Scene,
    SceneError,
    Spec,
    VlscoreError,
    __version__,
)
from runtime.interop import Answers, box_masks, pipeline, to_coco, to_yolo, write_labels


def show(done: int, total: int) -> None:
    """Tell how far an encoding is."""
    print(f"{done} of {total}")


def show_many(done: int, total: int | None) -> None:
    """Tell how far a stream is, whose end may not be known."""
    print(f"{done} of {total or 'many'}")


def opening() -> Localizer:
    """Every way to open a model."""
    Localizer()
    Localizer("RN50", device="cpu", spec="paper", templates="imagenet", threads=4)
    Localizer(Path("bundles") / "RN50", spec=Spec(name="mine", threshold=0.5), templates=["a {}", "the {}"])
    Localizer("RN50", device="openvino", precision="bf16")
    Localizer("RN50", device="cuda:1", preset="fast", passes="auto")
    Localizer("RN50", device="gpu")  # type: ignore[arg-type] # a typo in a name is an error of types
    Localizer("RN50", preset="exakt")  # type: ignore[arg-type]
    Localizer("RN50", precision="fp64")  # type: ignore[arg-type]
    Localizer("RN50", spec="papr")  # type: ignore[arg-type]
    Localizer("RN50", preset="fast", passes="all")  # type: ignore[arg-type]
    localizer = Localizer("RN50", scenes_only=True)
    assert_type(localizer.device, str)
    assert_type(localizer.info, dict[str, Any])
    return localizer


def asking(localizer: Localizer, pixels: NDArray[np.uint8]) -> None:
    """One picture of any kind; one query gives one answer, several a list."""
    assert_type(localizer("street.jpg", "a red bus"), Localization)
    assert_type(localizer(Path("street.jpg"), Query(("bus", "coach"), ("a {}.",))), Localization)
    assert_type(localizer(pixels, ["a red bus", "a bicycle"], progress=show), list[Localization])
    assert_type(localizer(Image.open("street.jpg"), ("a red bus", Query(("coach",)))), list[Localization])
    assert_type(localizer(b"...", [Query(("bus",))]), list[Localization])


def scenes(localizer: Localizer) -> None:
    """Encode once, ask often."""
    scene = localizer.encode("street.jpg", progress=show)
    assert_type(scene, Scene)
    assert_type(localizer.locate(scene, "a bus"), Localization)
    assert_type(localizer.locate(scene, ["a bus", "a bicycle"]), list[Localization])
    assert_type(scene.save("street.npz", picture=False), Path)
    assert_type(Scene.load("street.npz"), Scene)


def watching(localizer: Localizer, scene: Scene) -> None:
    """Answers that grow."""
    assert_type(localizer.watch("street.jpg", "a bus"), Iterator[Localization])
    assert_type(localizer.watch(scene, ["a bus", "a bicycle"], sure=0.01), Iterator[list[Localization]])


def streams(localizer: Localizer, folder: Path) -> None:
    """Many pictures, the same queries."""
    answers = localizer.stream(sorted(folder.glob("*.jpg")), ["a bus", "a bicycle"], progress=show_many)
    assert_type(answers, Iterator[list[Localization]])
    localizer.stream((path for path in folder.iterdir()), "a bus", progress=show)  # type: ignore[call-overload]
    assert_type(localizer.scenes([folder / "a.jpg", b"..."]), Iterator[Scene])
    for bus, bicycle in answers:
        assert_type(bus, Localization)
        assert_type(bicycle.present, bool)


def answers(found: Localization) -> None:
    """What an answer holds."""
    assert_type(found.xyxy, NDArray[np.float32])
    assert_type(found.scores, NDArray[np.float32])
    assert_type(found.saliency, NDArray[np.float32])
    assert_type(found.present, bool)
    assert_type(len(found), int)
    assert_type(found.to_dict(), dict[str, Any])
    assert_type(found.save("street.png", heat=False), Path)


def labels(localizer: Localizer, other: Localizer) -> None:
    """Labels ranked, and found by another model."""
    assert_type(localizer.classify("street.jpg", ["a bus", "a tram"]), list[Label])
    best = localizer.detect("street.jpg", ["a bus", Query(["a tram", "a streetcar"])], 1, classifier=other)[0]
    assert_type(best.probability, float)
    assert_type(best.found, Localization | None)


def other_tools(found: Localization, localizer: Localizer) -> None:
    """Answers as other tools read them."""
    answers: Answers = {"street.jpg": [found]}
    assert_type(to_coco(answers), dict[str, Any])
    assert_type(to_yolo(answers, scores=True), dict[str, str])
    assert_type(write_labels("voc", "labels", answers), Path)
    assert_type(box_masks(found), NDArray[np.bool_])
    pipeline("zero-shot-object-detection", model=localizer)("street.jpg", candidate_labels=["a bus"])


def errors(localizer: Localizer) -> str:
    """Every error is a VlscoreError and of a builtin kind."""
    try:
        localizer("street.jpg", "a bus")
    except (PictureError, QueryError, SceneError) as error:
        wrong: ValueError = error
        return str(wrong)
    except (BundleError, DeviceError) as error:
        broken: RuntimeError = error
        return str(broken)
    except VlscoreError:
        return __version__
    return ""
