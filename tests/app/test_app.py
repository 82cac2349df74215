"""The app without a browser: what it shows, what it runs, and that sliders run nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("streamlit", reason="the extra `app` is not installed")

import streamlit as st
from streamlit.testing.v1 import AppTest

from engine.methods import METHODS
from runtime.app import launch, state
from runtime.app.controls import Settings, build_label, methods_of, models_here
from runtime.app.pictures import LIMITS, fitted, read_named, read_once
from runtime.app.scene_cache import SceneCache, SceneKey
from runtime.app.watching import Watching
from runtime.app.weights import weigh
from runtime.encoder import SceneEncoder
from runtime.errors import ArgumentError, PictureError
from runtime.localizer import Localizer
from runtime.scene import Scene
from tests.runtime.samples import encoded, noise, png_claiming

DEMO = launch.MAIN.parent.parent / "models" / "demo.jpg"
PATIENCE_S = 60

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore:nothing was found")]


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """Nothing is kept from test to test."""
    st.cache_resource.clear()
    st.cache_data.clear()
    yield
    st.cache_resource.clear()


@pytest.fixture(scope="module")
def demo() -> Localizer:
    """The shipped model."""
    return Localizer(preset="fast", device="cpu", threads=2)


@pytest.fixture(scope="module")
def scene(demo: Localizer) -> Scene:
    """The demo picture, encoded."""
    return demo.encode(DEMO)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many maps every run of the encoder took."""
    counted: list[int] = []
    run_maps = SceneEncoder.run_maps

    def counting(self: SceneEncoder, pixels: Any, maps: Any, *rest: Any) -> Any:
        counted.append(len(maps))
        return run_maps(self, pixels, maps, *rest)

    monkeypatch.setattr(SceneEncoder, "run_maps", counting)
    return counted


def opened() -> AppTest:
    """The page as it is when it is opened, with the quick preset."""
    page = AppTest.from_file(str(launch.MAIN), default_timeout=PATIENCE_S).run()
    page.selectbox(key="preset").set_value("fast")
    return page.button(key="example").click().run()


def settled(page: AppTest) -> AppTest:
    """The page when its work is done."""
    if "work" in page.session_state:
        page.session_state["work"].thread.join(PATIENCE_S)
    return page.run()


def told(page: AppTest) -> str:
    """All words of the page."""
    kinds = (page.markdown, page.caption, page.info, page.error)
    return "\n".join(element.value for kind in kinds for element in kind)


def test_an_empty_page_says_what_to_do() -> None:
    page = AppTest.from_file(str(launch.MAIN), default_timeout=PATIENCE_S).run()
    assert not page.exception
    assert "Choose a picture" in page.info[0].value
    assert page.selectbox(key="backbone").options == ["demo-rn"]
    assert page.selectbox(key="preset").options == ["exact", "fast", "instant"]
    assert "cpu" in page.selectbox(key="device").options


def test_finds_and_says_what_is_not_there(passes: list[int]) -> None:
    page = opened()
    page.text_area(key="queries").set_value("a guitar\na banana\na guitar")
    page = settled(page.button(key="find").click().run())
    assert not page.exception
    assert "**a guitar**: found" in told(page)
    assert "**a banana**: **not in this picture**" in told(page)
    assert "are needed" in told(page)
    ran = list(passes)
    assert ran
    for name, value in (("threshold", 0.6), ("temperature", 2.0), ("contrast", 0.5), ("dilate", 0.05), ("erode", 0.02)):
        page.slider(key=f"{name}-default-vl-score").set_value(value)
        page = page.run()
        assert not page.exception
    page.radio(key="shown-default-vl-score").set_value("Heat").run()
    page.text_area(key="queries").set_value("a high heel").run()
    assert "**a high heel**: found" in told(page)
    assert passes == ran


def test_sliders_change_the_answer(demo: Localizer, scene: Scene, passes: list[int]) -> None:
    wide, narrow = (
        state.answers_at(demo, scene, ["a guitar"], demo.spec.replace(threshold=threshold))[0] for threshold in (0.2, 0.8)
    )
    area = [float(np.prod(found.xyxy[0, 2:] - found.xyxy[0, :2])) for found in (wide, narrow)]
    assert area[1] < 0.7 * area[0]
    assert passes == []
    assert demo.spec.threshold == 0.3


def test_other_pages_show_the_same_scene() -> None:
    page = opened()
    page = settled(page.button(key="find").click().run())

    def one(kind: str) -> None:
        import streamlit as st

        from runtime.app import page_compare, page_inside, state
        from runtime.app.controls import Settings
        from runtime.app.now import Now
        from runtime.app.pictures import EXAMPLE, read_once

        settings = Settings("demo-rn", "vl-score", "fast", "auto", "default")
        picture = read_once(EXAMPLE.name, EXAMPLE.read_bytes())
        if state.scenes().get(settings.key(picture.digest)) is None:
            st.error("the scene is gone")
        {"inside": page_inside, "compare": page_compare}[kind].show(Now(picture, ["a guitar"], settings))

    inside = AppTest.from_function(one, args=("inside",), default_timeout=PATIENCE_S).run()
    assert not inside.exception
    assert not inside.error
    assert inside.metric[0].label == "Maps that beat the blank picture"
    assert sum(caption.value.startswith("map ") for caption in inside.caption) == 8
    compare = AppTest.from_function(one, args=("compare",), default_timeout=PATIENCE_S).run()
    compare.button_group(key="compare_ways").set_value(["vl-score, fast", "vl-score, instant"]).run()
    compare.button(key="compare").click().run()
    assert not compare.exception
    assert "**vl-score, instant**: score" in told(compare)


def test_a_bad_model_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(settings: Settings) -> Localizer:
        raise ArgumentError("this model is damaged")

    monkeypatch.setattr(state, "open_model", refuse)
    page = opened()
    assert not page.exception
    assert page.error[0].value == "this model is damaged"


# ---- pictures


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"nothing", "is not a picture"),
        (DEMO.read_bytes()[:9000], "damaged or cut short"),
        (png_claiming(9000, 9000), "81 megapixels"),
    ],
    ids=["no-picture", "cut", "huge"],
)
def test_bad_files_are_a_sentence(data: bytes, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(st, "error", lambda words, icon: said.append(words))
    assert read_named("x.jpg", data) is None
    assert part in said[0]


def test_pictures_are_decoded_once_and_apart() -> None:
    assert LIMITS.seconds is not None
    data = encoded(Image.fromarray(noise(30, 60)), "PNG")
    first, again = read_once("a.png", data), read_once("a.png", data)
    assert first is again
    assert first.pixels.shape == (30, 60, 3)
    assert first.view.shape == (400, 800, 3)
    with pytest.raises(PictureError):
        read_once("a.png", b"")


@pytest.mark.parametrize(("shape", "shown"), [((3000, 6000), (600, 1200)), ((900, 1000), (900, 1000)), ((10, 20), (400, 800))])
def test_views_are_neither_tiny_nor_huge(shape: tuple[int, int], shown: tuple[int, int]) -> None:
    assert fitted(np.zeros((*shape, 3), np.uint8)).shape[:2] == shown


# ---- what is kept


def key(number: int) -> SceneKey:
    return SceneKey(str(number), "m", "auto", "exact", "vl-score", "squash")


def test_scenes_are_kept_within_bounds(scene: Scene) -> None:
    cache = SceneCache(most_bytes=int(2.5 * sum(a.nbytes for a in vars(scene).values() if isinstance(a, np.ndarray))))
    for number in range(2):
        cache.put(key(number), scene)
    assert cache.get(key(0)) is scene
    cache.put(key(2), scene)
    assert [cache.get(key(number)) is not None for number in range(3)] == [True, False, True]
    small = SceneCache(most_bytes=1)
    small.put(key(0), scene)
    assert small.get(key(0)) is scene


# ---- work beside the page


def test_work_can_be_stopped_and_gone_on_with(demo: Localizer) -> None:
    cache, pixels = SceneCache(), noise(60, 80)
    work = Watching(demo, pixels, ["a cat"], key(0), cache)
    work.stop()
    work.thread.join(PATIENCE_S)
    short = cache.get(key(0))
    assert short is not None  # the first answer at least, after one pass
    again = Watching(demo, pixels, ["a cat"], key(0), cache)
    again.thread.join(PATIENCE_S)
    whole = cache.get(key(0))
    assert (again.running, again.error, whole.preset, again.passes) == (False, "", "fast", whole.passes)
    assert whole.passes > short.passes
    assert again.seconds_left == 0
    further = Watching(demo, whole, ["a dog"], key(0), cache)
    further.thread.join(PATIENCE_S)
    assert cache.get(key(0)).passes > whole.passes


def test_a_method_of_one_pass_is_looked_at_once(demo: Localizer, scene: Scene) -> None:
    looked: list[Any] = []
    localizer: Any = SimpleNamespace(
        dense=object(), method=METHODS["naclip"], plan=demo.plan, manifest=demo.manifest, text=demo.text
    )
    localizer.encode = lambda pixels: looked.append(pixels) or scene
    cache = SceneCache()
    work = Watching(localizer, noise(60, 80), ["a cat"], key(0), cache)
    work.thread.join(PATIENCE_S)
    assert (len(looked), work.error, cache.get(key(0))) == (1, "", scene)


def test_work_that_fails_is_a_sentence(demo: Localizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("the card fell out")

    monkeypatch.setattr(type(demo.opened.watcher), "scenes", fail)
    work = Watching(demo, noise(60, 80), ["a cat"], key(0), SceneCache())
    work.thread.join(PATIENCE_S)
    assert work.error == "RuntimeError: the card fell out"


def test_weights_are_those_of_the_answer(demo: Localizer, scene: Scene) -> None:
    found = weigh(demo, scene, "a cat")
    answer = state.answers_at(demo, scene, ["a cat"], demo.spec)[0]
    assert int((found.scores > 0).sum()) == answer.kept
    assert found.scores.max() == pytest.approx(answer.margin, abs=1e-5)
    assert found.weights.sum() == pytest.approx(1 if answer.kept else 0, abs=1e-5)
    assert ((found.weights > 0) <= (found.scores > 0)).all()


# ---- the command


def test_the_command_serves_with_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    line = launch.command("127.0.0.1", 8600, browser=False)
    assert line[1:4] == ["-m", "streamlit", "run"]
    assert {"--server.maxUploadSize=30", "--server.address=127.0.0.1", "--server.headless=true"} <= set(line)
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match=r"pip install 'vlscore\[cpu,app\]'"):
        launch.run("127.0.0.1", 8600, browser=False)


def test_builds_are_told_apart() -> None:
    manifest = models_here()["demo-rn"]
    assert build_label("demo-rn", manifest) == "layer4.0, 512 maps, fp32"
    assert build_label("mine", manifest).endswith(", mine")
    assert set(methods_of(manifest)) == {"vl-score", "score-cam", *manifest.methods}


def test_downloads_are_files_of_their_kind(demo: Localizer, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.app import downloads

    made: dict[str, Any] = {}
    monkeypatch.setattr(st, "download_button", lambda label, make, *_, **__: made.update({label: make()}))
    found = demo.locate(scene, ["a guitar", "a dog"])
    downloads.offer("demo.jpg", scene.picture, lambda: found, heat=False)
    assert Image.open(io.BytesIO(made["Picture"])).size == scene.picture.shape[1::-1]
    assert Image.open(io.BytesIO(made["Mask"])).mode == "L"
    assert made["JSON"].startswith("[")
    assert '"demo.jpg"' in made["COCO"]
