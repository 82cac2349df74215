"""The app in a real headless Chromium: what a person does with it, how long a slider takes, and that it runs no pass.

Needs Debian's `chromium` and `chromium-driver`, and the package `selenium`. `--screenshots FOLDER` by the environment variable
SCREENSHOTS keeps the pictures that are in `docs/app/`.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from runtime.app.launch import command, environment
from tests.configs import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("chromedriver")), reason="there is no chromium here"),
]
webdriver = pytest.importorskip("selenium.webdriver", reason="the package `selenium` is not installed")
Keys, exceptions = webdriver.Keys, pytest.importorskip("selenium.common.exceptions")

DEMO = ROOT / "runtime" / "models" / "demo.jpg"
LAPTOP, PHONE = (1280, 900), (390, 844)
PATIENCE_S = 90
SLIDERS_S = 0.2  # for the new picture to stand on the page
PASTE = """
const text = atob(arguments[0]), bytes = new Uint8Array(text.length);
for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
const carried = new DataTransfer();
carried.items.add(new File([bytes], 'pasted.jpg', {type: 'image/jpeg'}));
const zone = document.querySelector('[data-testid=stFileUploaderDropzone]');
zone.dispatchEvent(new ClipboardEvent('paste', {clipboardData: carried, bubbles: true, cancelable: true}));
"""
# From now on: how many milliseconds after a key was pressed another picture stands on the page.
WATCH = """
const picture = () => document.querySelector('[data-testid=stImage] img');
const before = picture().src;
window.taken = null;
addEventListener('keydown', () => {
  const began = performance.now();
  const look = () => {
    const now = picture();
    if (now && now.src !== before && now.complete) window.taken = performance.now() - began;
    else if (performance.now() - began < 3000) setTimeout(look, 4);
    else window.taken = -1;
  };
  look();
}, {capture: true, once: true});
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running app."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (tmp_path_factory.mktemp("app") / "log").open("wb")
    ours = {**environment(), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command("127.0.0.1", port, browser=False), stdout=log, stderr=log, env=ours) as server:
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2).read()
                break
            except OSError:
                assert time.monotonic() < until
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
        server.terminate()


class Browser:
    """One window."""

    def __init__(self, address: str, size: tuple[int, int] = LAPTOP, dark: bool = False, downloads: Path | None = None) -> None:
        options = webdriver.ChromeOptions()
        for switch in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
            options.add_argument(switch)
        options.binary_location = shutil.which("chromium")
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        width, height = size
        shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.tell("Emulation.setDeviceMetricsOverride", shape)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.tell("Emulation.setEmulatedMedia", {"features": [scheme]})
        if downloads is not None:
            self.tell("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
        self.driver.set_script_timeout(PATIENCE_S)
        self.driver.get(address)
        self.wait(lambda: "What to look for" in self.words)

    def tell(self, order: str, about: dict[str, Any]) -> None:
        self.driver.execute_cdp_cmd(order, about)

    @property
    def words(self) -> str:
        """All that stands on the page."""
        return str(self.driver.execute_script("return document.body.innerText"))

    @property
    def ran(self) -> int:
        """How many passes the page says were run."""
        return int(re.search(r"(\d+) pass(?:es were| was) run", self.words)[1])

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)

    def wait(self, holds: Callable[[], object]) -> None:
        until = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < until, self.words
            time.sleep(0.05)

    def press(self, label: str, selector: str = "button") -> None:
        """Click on what has these words; the page may replace it at any moment."""

        def pressed() -> bool:
            with contextlib.suppress(exceptions.WebDriverException):
                for one in self.all(selector):
                    if label in one.text:
                        one.click()
                        return True
            return False

        self.wait(pressed)

    def upload(self, path: Path) -> None:
        self.wait(lambda: self.all("input[type=file]"))
        self.all("input[type=file]")[0].send_keys(str(path))

    def describe(self, text: str) -> None:
        """Write what to look for, in place of what stands there; the page may replace the field at any moment."""

        def written() -> bool:
            with contextlib.suppress(exceptions.WebDriverException):
                area = self.all("textarea")[0]
                area.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.DELETE, text, Keys.CONTROL, Keys.ENTER)
                return bool(area.get_property("value") == text)
            return False

        self.wait(written)

    def slider(self, label: str) -> Any:
        """What takes the keys of a slider."""
        one = next(one for one in self.all("[data-testid=stSlider]") if one.text.startswith(label))
        return one.find_element("css selector", "[role=slider], input[type=range]")

    def find(self) -> None:
        self.press("Find it!")
        self.wait(lambda: " for this picture (" in self.words)

    def keep(self, name: str) -> None:
        """Keep a screenshot, where they are wanted."""
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            time.sleep(1)
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(Path(folder, f"{name}.png")))


@pytest.fixture
def browser(address: str, tmp_path: Path) -> Iterator[Callable[..., Browser]]:
    """Opens windows, and closes them at the end."""
    opened: list[Browser] = []

    def open_window(**about: Any) -> Browser:
        opened.append(Browser(address, downloads=tmp_path, **about))
        return opened[-1]

    yield open_window
    for one in opened:
        one.driver.quit()


def test_upload_describe_and_download(browser: Callable[..., Browser], tmp_path: Path) -> None:
    page = browser()
    page.upload(DEMO)
    page.describe("a guitar\na banana")
    page.find()
    assert "a guitar: found" in page.words
    assert "a banana: not in this picture (margin" in page.words
    for label, file in (
        ("Picture", "demo.boxes.png"),
        ("JSON", "demo.json"),
        ("COCO", "demo.coco.json"),
        ("Mask", "demo.mask.png"),
    ):
        page.press(label, '[data-testid="stDownloadButton"] button')
        page.wait(lambda file=file: (tmp_path / file).exists())
    assert Image.open(tmp_path / "demo.boxes.png").size == Image.open(DEMO).size


def test_a_pasted_picture_is_taken(browser: Callable[..., Browser]) -> None:
    page = browser()
    page.wait(lambda: page.all("[data-testid=stFileUploaderDropzone]"))
    page.driver.execute_script(PASTE, base64.b64encode(DEMO.read_bytes()).decode())
    page.wait(lambda: "pasted.jpg" in page.words)


def test_sliders_answer_in_time_and_run_no_pass(browser: Callable[..., Browser]) -> None:
    page = browser()
    page.upload(DEMO)
    page.find()
    before = page.ran
    times = []
    for label in ("Threshold", "Temperature", "Contrast"):
        for step in (Keys.ARROW_RIGHT, Keys.ARROW_LEFT) * 5:
            page.driver.execute_script(WATCH)
            page.slider(label).send_keys(step)
            page.wait(lambda: page.driver.execute_script("return window.taken") is not None)
            taken = page.driver.execute_script("return window.taken")
            if taken >= 0:  # a step that changes no pixel shows no other picture
                times.append(taken / 1000)
    low, median, high = np.percentile(times, [10, 50, 90])
    print(
        f"slider to picture: median {median * 1e3:.0f} ms (10 to 90 %: {low * 1e3:.0f} to {high * 1e3:.0f}), {len(times)} steps"
    )
    assert len(times) >= 15
    assert median < SLIDERS_S
    assert page.ran == before


def test_stopped_work_keeps_its_answer(browser: Callable[..., Browser], tmp_path: Path) -> None:
    picture = tmp_path / "other.png"
    Image.open(DEMO).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(picture)
    page = browser()
    page.upload(picture)
    page.press("Find it!")
    page.press("Stop")
    page.wait(lambda: " for this picture (" in page.words)
    assert 1 <= page.ran < 511


@pytest.mark.parametrize("kind", ["broken", "large"])
def test_a_bad_file_gets_a_sentence(kind: str, browser: Callable[..., Browser], tmp_path: Path) -> None:
    path = tmp_path / f"{kind}.jpg"
    path.write_bytes(b"nothing" if kind == "broken" else DEMO.read_bytes() + bytes(50_000_000))
    page = browser()
    page.upload(path)
    part = "is not a picture that can be read" if kind == "broken" else "File must be 30.0MB or smaller"
    page.wait(lambda: part in page.words)
    assert "Traceback" not in page.words


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, PHONE], ids=["laptop", "phone"])
def test_nothing_runs_over_the_edge(size: tuple[int, int], dark: bool, browser: Callable[..., Browser]) -> None:
    page = browser(size=size, dark=dark)
    name = f"{'phone' if size == PHONE else 'laptop'}-{'dark' if dark else 'light'}"
    page.press("Example", "[role=tab]")
    time.sleep(0.5)  # the tab moves in; what is clicked while it moves is another place
    page.press("Take the example")
    page.wait(lambda: "Choose a picture" not in page.words)
    page.describe("a guitar\na microphone\na banana")
    page.find()
    assert page.driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    if size == PHONE:
        picture = page.all("[data-testid=stImage] img")[0]
        page.driver.execute_script("arguments[0].scrollIntoView()", picture)
    page.keep(name)
    if size == LAPTOP:
        page.press("What did the model see", "a")
        page.wait(lambda: "Maps that beat" in page.words)
        page.keep(f"inside-{name}")
        page.press("Compare methods", "a")
        page.wait(lambda: "Ways" in page.words)
        page.press("Compare", '[data-testid="stButton"] button')
        page.wait(lambda: re.search(r"pass(es)?, \d+\.\d\d s", page.words))
        page.keep(f"compare-{name}")
