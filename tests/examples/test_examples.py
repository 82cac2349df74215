"""Every example and the notebook run, on the shipped model."""

from __future__ import annotations

import importlib.util
import io
import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.configs import ROOT
from tests.runtime.samples import encoded, noise

EXAMPLES = ROOT / "docs" / "examples"
DEMO = ROOT / "runtime" / "models" / "demo.jpg"

pytestmark = pytest.mark.filterwarnings("ignore:nothing was found")


def example(name: str) -> ModuleType:
    """One of the scripts, imported."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The demo picture, a broken one before it, and an empty scene after it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(DEMO, folder / "demo.jpg")
    (folder / "broken.jpg").write_bytes(b"nothing")
    Image.new("RGB", (200, 200), "grey").save(folder / "grey.png")
    return folder


def test_a_folder_is_labelled(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example("label_folder").main(str(photos), str(tmp_path / "labels.json"), "a guitar", "a high heel")
    coco = json.loads((tmp_path / "labels.json").read_text())
    names = {image["id"]: image["file_name"] for image in coco["images"]}
    assert list(names.values()) == ["demo.jpg", "grey.png"]
    assert {names[annotation["image_id"]] for annotation in coco["annotations"]} == {"demo.jpg"}
    assert {annotation["category_id"] for annotation in coco["annotations"]} == {1, 2}
    assert re.search(r"left out: .*broken.jpg", capsys.readouterr().out)


def test_a_thing_is_found_in_a_video(tmp_path: Path) -> None:
    demo = cv2.resize(cv2.imread(str(DEMO)), (320, 320))
    writer = cv2.VideoWriter(str(tmp_path / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 5, (320, 320))
    for second in range(6):
        for _ in range(5):
            writer.write(demo if 2 <= second < 4 else np.full_like(demo, 120))
    writer.release()
    assert example("find_in_video").main(str(tmp_path / "film.mp4"), "a high heel") == [(2.0, 4.0)]
    assert example("find_in_video").main(str(tmp_path / "film.mp4"), "a banana", 3.0) == []


def test_objects_are_cut_out_for_a_search(photos: Path, tmp_path: Path) -> None:
    example("crop_for_search").main(str(photos), str(tmp_path / "index"), "a guitar", "a high heel")
    index = np.load(tmp_path / "index" / "index.npz")
    assert len(index["names"]) == len(index["vectors"]) >= 2
    np.testing.assert_allclose(np.linalg.norm(index["vectors"], axis=1), 1, atol=1e-4)
    assert all((tmp_path / "index" / name).is_file() for name in index["names"])


def test_a_service_encodes_once_and_keeps_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi.testclient import TestClient

    monkeypatch.setenv("PRESET", "instant")
    module = example("serve_api")
    passes: list[int] = []
    encode = module.localizer.encode
    monkeypatch.setattr(module.localizer, "encode", lambda picture: passes.append(1) or encode(picture))
    client = TestClient(module.app)

    def send(data: bytes) -> tuple[int, dict[str, str]]:
        reply = client.post("/scenes", files={"file": ("x.jpg", io.BytesIO(data))})
        return reply.status_code, reply.json()

    status, made = send(DEMO.read_bytes())
    assert (status, send(DEMO.read_bytes())) == (200, (200, made))
    assert passes == [1]
    guitar, banana = client.get(f"/scenes/{made['scene']}", params={"query": ["a guitar", "a banana"]}).json()
    assert (guitar["present"], banana["present"]) == (True, False)
    assert "damaged" in send(b"\xff\xd8\xff\xe0 nothing")[1]["detail"] or send(b"nothing")[0] == 422
    assert client.get("/scenes/none", params={"query": "a dog"}).status_code == 404
    assert client.get(f"/scenes/{made['scene']}").status_code == 422
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    assert send(DEMO.read_bytes())[0] == 413
    monkeypatch.setattr(module, "MOST_BYTES", 10**7)
    monkeypatch.setattr(module, "MOST_SCENES", 1)
    send(encoded(Image.fromarray(noise(40, 40)), "PNG"))
    assert list(module.scenes) != [made["scene"]]
    assert len(module.scenes) == 1


def test_the_notebook_runs_and_holds_no_output() -> None:
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs for cell in code)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    shown = {kind for cell in code for output in cell.outputs for kind in output.get("data", {})}
    assert "image/png" in shown


def test_every_example_is_listed() -> None:
    listed = set(re.findall(r"\]\(([\w.]+)\)", (EXAMPLES / "README.md").read_text()))
    assert listed == {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")}
