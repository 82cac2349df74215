"""The steps of `make gpu`: what is missing is told, groups go on where they were cut off, and a packed folder arrives whole."""

from __future__ import annotations

import importlib.util
import json
import shutil
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.gpu import answers, check, measure, pack
from bench.gpu.plan import KNOWING, Group, groups
from engine.manifest import MANIFEST
from runtime import Localizer
from tests.configs import PICTURES


def fake_driver(version: int) -> Any:
    def tell(pointer: Any) -> int:
        pointer._obj.value = version
        return 0

    return SimpleNamespace(cuDriverGetVersion=tell)


@pytest.mark.parametrize(
    ("version", "told"),
    [(12080, "knows CUDA 12.8, and ONNX Runtime's wheel needs 13.0: install driver 580"), (13000, ""), (13020, "")],
)
def test_an_old_driver_is_told_before_anything_is_installed(version: int, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check.ctypes, "CDLL", lambda name: fake_driver(version))
    assert told in check.driver_fault()
    assert bool(check.driver_fault()) is bool(told)


def test_what_is_missing_is_one_sentence_each(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["driver"]) == 1
    assert "There is no NVIDIA driver" in capsys.readouterr().out
    monkeypatch.setattr(check, "there", lambda module: module not in ("open_clip", "ftfy", "tensorrt"))
    assert check.main(["build", "cpu"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["`ftfy` is missing: install it.", "`open_clip_torch` is missing: install it."]
    assert lines[2:] == ["`tensorrt` is missing: TensorRT is left out."]
    assert check.main(["build"]) == 1
    assert "is the processor's: uninstall `onnxruntime`" in capsys.readouterr().out


def test_precisions_are_judged_on_a_model_that_knows_something_before_speeds() -> None:
    every = list(groups("RN50", ("cuda", "tensorrt")))
    assert [(each.bundle, each.device) for each in every[:6]] == [
        (f"{KNOWING}-{precision}", device) for device in ("cuda", "tensorrt") for precision in ("fp16", "int8-symmetric", "fp32")
    ]
    assert len({each.name for each in every}) == len(every)
    assert any(each.options.get("device_options") == {"fuse_conv_bias": True} for each in every)


class TestRecord:
    """What is measured when."""

    def prepare(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], dict[str, Any]]:
        for name in ("demo-rn-fp16", "demo-rn-fp32"):
            (tmp_path / "bundles" / name).mkdir(parents=True)
            (tmp_path / "bundles" / name / MANIFEST).write_text(name)
        ran: list[str] = []
        answer = {"picture_ms": [1.0, 1.0, 1.0], "relative_error": 0.01, "fault": ""}

        def run_apart(folder: Path, group: Group) -> dict[str, Any]:
            if len(ran) == 2 and "stop" in answer:
                del answer["stop"]
                raise KeyboardInterrupt
            ran.append(group.name)
            return dict(answer)

        monkeypatch.setattr(measure, "run_apart", run_apart)
        return ran, answer

    def test_a_run_that_was_cut_off_goes_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ran, answer = self.prepare(tmp_path, monkeypatch)
        answer["stop"] = True
        with pytest.raises(KeyboardInterrupt):
            measure.measure(tmp_path, KNOWING, ("cpu",), 7, lambda line: None)
        (file,) = tmp_path.glob("record-*.json")
        assert list(json.loads(file.read_text())["groups"]) == ran == ["demo-rn-fp16 cpu", "demo-rn-fp32 cpu"]
        assert measure.measure(tmp_path, KNOWING, ("cpu",), 7, lambda line: None) == 0
        assert len(ran) == len(set(ran)) == 6  # every group once; there is no bundle in eight bits
        (tmp_path / "bundles" / "demo-rn-fp32" / MANIFEST).write_text("built anew")
        measure.measure(tmp_path, KNOWING, ("cpu",), 7, lambda line: None)
        assert len(ran) == 8

    def test_what_failed_is_tried_again_and_what_is_off_counts(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        _, answer = self.prepare(tmp_path, monkeypatch)
        answer["fault"] = "scores are off"
        assert measure.measure(tmp_path, KNOWING, ("cpu",), 7, lambda line: None) == 6
        monkeypatch.setattr(measure, "run_apart", lambda folder, group: {"failed": "no answer"})
        (tmp_path / "bundles" / "demo-rn-fp32" / MANIFEST).write_text("built anew")
        assert measure.measure(tmp_path, KNOWING, ("cpu",), 7, lambda line: None) == 6
        answer["fault"] = ""
        self.prepare(tmp_path / "other", monkeypatch)
        assert measure.measure(tmp_path, KNOWING, ("cpu",), 7, lambda line: None) == 4  # those of fp16, which are in the record

    def test_no_group_is_begun_when_the_time_is_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        ran, _ = self.prepare(tmp_path, monkeypatch)
        said: list[str] = []
        measure.measure(tmp_path, KNOWING, ("cpu",), -1, said.append)
        assert ran == []
        assert "run this again to go on" in said[0]


def test_a_group_is_held_against_the_reference(
    tiny_bundle: Path, tiny_localizer: Localizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_bundle, tmp_path / "bundles" / "tiny-rn-fp32")
    reference = tmp_path / "reference" / "tiny-rn"
    reference.mkdir(parents=True)
    picture = Path(shutil.copy(PICTURES / "cat.jpg", reference))
    which = answers.live_maps(tiny_localizer, picture)[:32]
    scores = answers.scores_of(tiny_localizer, picture, "a cat", which)
    stored = {"which0": which, "scores0": scores, "questions": np.array(json.dumps([(picture.name, "a cat")]))}
    np.savez(reference / "answers.npz", **stored)
    monkeypatch.setattr(measure, "quartiles", lambda work: [1.0, 1.0, 1.0])
    group = Group("tiny-rn", "fp32", "cpu")
    found = measure.run_group(tmp_path, group)
    assert (found["fault"], found["scores"], found["box_agreement"]) == ("", 32, None)
    np.savez(reference / "answers.npz", **{**stored, "scores0": scores + 2e-4 * np.sign(scores)})
    assert "was TF32 taken?" in measure.run_group(tmp_path, group)["fault"]
    monkeypatch.setattr(answers, "scores_of", lambda *_: np.zeros(32, np.float32))
    assert "constant" in measure.run_group(tmp_path, group)["fault"]


class TestPack:
    """A folder to carry."""

    def packed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        work, out = tmp_path / "work", tmp_path / "out"
        bundle = work / "bundles" / "RN50-fp16"
        (work / "reference").mkdir(parents=True)
        bundle.mkdir(parents=True)
        (bundle / MANIFEST).write_bytes(np.random.default_rng(0).bytes(3 << 20))
        (work / "bundles" / "RN50-fp32").mkdir()
        (work / "bundles" / "RN50-fp32" / MANIFEST).write_text("stays at home")
        with zipfile.ZipFile(tmp_path / "thing-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr("thing/__init__.py", "VALUE = 7\n")
        monkeypatch.setattr(pack, "fetch_wheels", lambda folder, python: [tmp_path / "thing-1.0-py3-none-any.whl"])
        monkeypatch.setattr(pack, "CODE", ("bench/gpu", "bench/agreement.py"))
        assert pack.pack(work, out, 1, "3.11") == 0
        return out

    def script(self, out: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location("carried_run", out / "run.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def test_it_arrives_whole(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        out = self.packed(tmp_path, monkeypatch)
        listed = json.loads((out / "parts.json").read_text())["parts"]
        assert len(listed) == len(list(out.glob("part-*"))) == 4
        run = self.script(out)
        assert run.faults(listed) == []
        run.unpack(listed, "mark")
        there = out / "unpacked"
        kept = (there / "work" / "bundles" / "RN50-fp16" / MANIFEST).read_bytes()
        assert kept == (tmp_path / "work" / "bundles" / "RN50-fp16" / MANIFEST).read_bytes()
        assert not (there / "work" / "bundles" / "RN50-fp32").exists()
        assert (there / "bench" / "gpu" / "measure.py").is_file()
        run.install("mark")
        assert (out / "site" / "thing" / "__init__.py").read_text() == "VALUE = 7\n"
        assert run.complete(there, "mark")
        assert not run.complete(there, "of other parts")

    def test_parts_that_are_there_are_left(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        out = self.packed(tmp_path, monkeypatch)
        first, second = out / "part-000", out / "part-001"
        second.write_bytes(b"cut off")
        (out / "part-009").write_bytes(b"of a larger pack")
        before = first.stat().st_mtime_ns
        assert pack.pack(tmp_path / "work", out, 1, "3.11") == 0
        assert first.stat().st_mtime_ns == before
        assert second.stat().st_size == 1 << 20
        assert not (out / "part-009").exists()

    def test_parts_that_were_altered_or_lost_are_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        out = self.packed(tmp_path, monkeypatch)
        listed = json.loads((out / "parts.json").read_text())["parts"]
        part = bytearray((out / "part-001").read_bytes())
        part[5] ^= 1
        (out / "part-001").write_bytes(part)
        (out / "part-002").unlink()
        told = self.script(out).faults(listed)
        assert told == ["part-001 was cut or altered on its way: carry it again", "part-002 is missing"]
