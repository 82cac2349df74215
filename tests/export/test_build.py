"""Whole builds: the same every time, up to date when nothing changed, and nothing left of a refused one."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from typer.testing import CliRunner

from engine.spec import DEFAULT, PAPER
from export import assemble, build, gate, options, show
from export.backbones import find_backbone
from export.options import BuildOptions, inputs_hash
from export.sources import find_source
from export.weights import load
from runtime.bundles import open_bundle
from tests.configs import ROOT, TINY_RN, changed, write_config
from tests.conftest import ExportCache, tiny_backbone
from tests.export.test_gate import PERFECT

Run = Callable[..., None]
AGREED = (PERFECT, gate.TOLERANCES["fp32"])


def hashes(folder: Path) -> dict[str, str]:
    """The hash of every file; a manifest's without its date."""
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["created"]
    return {**found, "manifest.json": json.dumps(manifest, sort_keys=True)}


@pytest.fixture
def quick_run(workshop: Path, export_cache: ExportCache, monkeypatch: pytest.MonkeyPatch) -> Run:
    """`build.run` on the tiny ResNet, with exports from the cache and without the gate's comparison."""
    monkeypatch.setattr(assemble, "export_graph", export_cache)
    monkeypatch.setattr(gate, "comparisons", lambda *_: iter([AGREED]))

    def run(target: Path, *, force: bool = False, **changes: Any) -> None:
        build.run(str(workshop / "tiny-rn.json"), "none", BuildOptions(**changes), target, force)

    return run


def test_two_builds_at_once_give_the_bundle_that_one_gives(tiny_bundle: Path, workshop: Path, tmp_path: Path) -> None:
    """Nothing here is cached: one of the two builds, the other waits and finds it up to date; every byte is the same."""
    target = tmp_path / "shared"

    def run() -> None:
        build.run(str(workshop / "tiny-rn.json"), "none", BuildOptions(), target, False)

    with ThreadPoolExecutor(2) as pool:
        for result in [pool.submit(run) for _ in range(2)]:
            result.result()
    found, expected = hashes(target), hashes(tiny_bundle)
    assert {name for name in expected if found[name] != expected[name]} == set()
    assert found.keys() == expected.keys()


def test_a_second_run_is_up_to_date(quick_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick_run(tmp_path / "b")
    before = (tmp_path / "b" / "manifest.json").stat().st_mtime_ns
    assert "built in" in capsys.readouterr().err
    quick_run(tmp_path / "b")
    assert "up to date: " in capsys.readouterr().err
    assert (tmp_path / "b" / "manifest.json").stat().st_mtime_ns == before
    quick_run(tmp_path / "b", force=True)
    assert (tmp_path / "b" / "manifest.json").stat().st_mtime_ns > before


def test_another_precision_is_built(quick_run: Run, tmp_path: Path) -> None:
    quick_run(tmp_path / "b")
    first = open_bundle(tmp_path / "b").manifest
    quick_run(tmp_path / "b", precision="fp16")
    second = open_bundle(tmp_path / "b").manifest
    assert first.inputs_hash != second.inputs_hash
    assert first.files["image.onnx.weights"] != second.files["image.onnx.weights"]
    assert first.files["tokenizer.json"] == second.files["tokenizer.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "fp16"},
        {"batch": 7},
        {"text_batch": 2},
        {"seed": 1},
        {"spec": DEFAULT.replace(mask_align="centers")},
        {"spec": DEFAULT.replace(mask_order="normalise-first")},
        {"blocks": 2},
        {"map_source": "token"},
    ],
)
def test_the_inputs_hash_follows_every_option(workshop: Path, change: dict[str, Any]) -> None:
    backbone = tiny_backbone(workshop, "tiny-rn")
    source = find_source(backbone, "none", None)
    usual = inputs_hash(backbone, source, BuildOptions())
    assert inputs_hash(backbone, source, BuildOptions(**change)) != usual
    assert inputs_hash(backbone, source, BuildOptions()) == usual


def test_the_inputs_hash_ignores_what_is_not_baked_in(workshop: Path) -> None:
    backbone = tiny_backbone(workshop, "tiny-rn")
    source = find_source(backbone, "none", None)
    assert inputs_hash(backbone, source, BuildOptions(spec=PAPER)) == inputs_hash(backbone, source, BuildOptions(spec=DEFAULT))


def test_the_inputs_hash_follows_model_activation_and_code(
    workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = tiny_backbone(workshop, "tiny-rn")
    source = find_source(backbone, "none", None)
    seen = {inputs_hash(backbone, source, BuildOptions())}
    other = find_backbone(str(write_config(tmp_path / "tiny-rn.json", changed(TINY_RN, "embed_dim", 32))))
    seen.add(inputs_hash(other, source, BuildOptions()))
    seen.add(inputs_hash(backbone, dataclasses.replace(source, quick_gelu=True), BuildOptions()))
    (tmp_path / "merges.txt.gz").write_bytes(b"other words")
    seen.add(inputs_hash(dataclasses.replace(backbone, merges=tmp_path / "merges.txt.gz"), source, BuildOptions()))
    monkeypatch.setattr(options, "code_hash", lambda: "another version of this code")
    seen.add(inputs_hash(backbone, source, BuildOptions()))
    monkeypatch.setattr(options, "versions", lambda: {"torch": "99"})
    seen.add(inputs_hash(backbone, source, BuildOptions()))
    assert len(seen) == 6


def test_changed_weights_are_seen_by_content(workshop: Path, tmp_path: Path) -> None:
    backbone = tiny_backbone(workshop, "tiny-rn")
    path = tmp_path / "w.safetensors"
    found = set()
    state = load(backbone, find_source(backbone, "none", None), 0).model.state_dict()
    for change in (0.0, 1.0):
        save_file({**state, "logit_scale": state["logit_scale"] + change}, path)
        found.add(inputs_hash(backbone, find_source(backbone, str(path), None), BuildOptions()))
    assert len(found) == 2


@pytest.mark.parametrize("had_one", [False, True])
def test_a_refused_build_leaves_what_was_there(
    had_one: bool, quick_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "b"
    if had_one:
        quick_run(target)
    before = hashes(target) if had_one else None
    worse = (dataclasses.replace(PERFECT, masked_cosine=0.9), gate.TOLERANCES["fp32"])
    monkeypatch.setattr(gate, "comparisons", lambda *_: iter([worse]))
    with pytest.raises(gate.GateError, match=r"masked_cosine is 0\.9"):
        quick_run(target, precision="fp16")
    assert (hashes(target) if target.exists() else None) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"b", ".b.lock"}


@pytest.mark.parametrize(
    ("precision", "side", "count", "batch"),
    [("fp32", 224, 2048, 32), ("fp32", 288, 2560, 16), ("fp32", 448, 4096, 8), ("fp32", 224, 48, 32), ("fp32", 224, 12, 8)],
)
def test_batches_fit_the_picture_and_the_maps(precision: Any, side: int, count: int, batch: int) -> None:
    assert BuildOptions(precision).batch_for(side, count) == batch
    assert BuildOptions(precision, batch=7).batch_for(side, count) == 7


def test_the_manifest_says_what_was_built(tiny_vit_bundle: Path, loaded_vit: Any) -> None:
    manifest = open_bundle(tiny_vit_bundle).manifest
    assert (manifest.backbone, manifest.precision, manifest.dim) == ("tiny-vit", "fp32", 64)
    assert (manifest.maps.source, manifest.maps.layer) == ("query-pca", "blocks 1-3")
    assert (manifest.maps.raw, manifest.maps.groups, manifest.maps.components) == (192, 3, 12)
    assert manifest.logit_scale == pytest.approx(loaded_vit.model.logit_scale.detach().exp().item())
    assert {"torch", "open_clip_torch", "onnx", "onnxscript"} <= manifest.built_with.keys()
    assert {path.name for path in tiny_vit_bundle.iterdir()} == {*manifest.files, "manifest.json"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backbone", "RN5O"], "did you mean RN50"),
        (["--backbone", "RN50", "--pretrained", "nonsense"], "no weights tag of RN50"),
        (["--backbone", "RN50", "--spec", "papr"], "`papr` is none of default, paper"),
        (["--backbone", "RN50", "--precision", "fp8"], "fp8"),
        (["--backbone", "RN50", "--batch", "0"], "Invalid value for '--batch'"),
    ],
)
def test_refusals_on_the_command_line(arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    result = CliRunner().invoke(build.app, arguments)
    assert result.exit_code in (1, 2)
    assert message in result.output + capfd.readouterr().err
    assert "Traceback" not in result.output


@pytest.mark.parametrize("model", ["tiny-rn", "tiny-vit"])
def test_every_step_of_a_build_is_counted_and_named(
    model: str, workshop: Path, export_cache: ExportCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble, "export_graph", export_cache)
    backbone, asked = tiny_backbone(workshop, model), BuildOptions(compare=1)
    steps: list[str] = []
    build.build(backbone, find_source(backbone, "none", None), asked, tmp_path / "b", steps.append)
    assert len(set(steps)) == len(steps) == show.steps_of(asked)


def test_a_build_ends_with_the_next_line_to_run(quick_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quick_run(tmp_path / "my bundle")
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"next: vlscore locate PICTURE \"a red bus\" --model '{tmp_path / 'my bundle'}'"


def test_without_pytorch_a_build_says_what_to_install_in_one_line() -> None:
    code = "import runpy, sys; sys.modules['torch'] = None; runpy.run_module('export.build', run_name='__main__')"
    result = subprocess.run([sys.executable, "-c", code, "--list"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith("error: building needs PyTorch and its exporter (torch not found): `pip install torch ")


BUILDING = """
import signal, sys, time
from pathlib import Path
from export.build import stop
from export.store import locked, new_bundle
signal.signal(signal.SIGTERM, stop)
target = Path(sys.argv[1])
with locked(target), new_bundle(target) as folder:
    (folder / "image.onnx").touch()
    print("under way", flush=True)
    time.sleep(60)
"""


def test_a_build_that_is_told_to_end_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BUILDING, str(tmp_path / "b")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "under way\n"
        assert [path.name for path in tmp_path.glob(".*.part/*")] == ["image.onnx"]
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM
    assert {path.name for path in tmp_path.iterdir()} <= {".b.lock"}


COMMAND = [sys.executable, "-m", "export.build", "--pretrained", "none", "--backbone"]


@pytest.mark.slow
def test_killed_builds_and_the_next(workshop: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    """The real command, killed a few times on its way; the old bundle stays, and the next build comes through."""
    target = tmp_path / "b"
    command = [*COMMAND, str(workshop / "tiny-rn.json"), "--out", str(target)]
    subprocess.run([*command, "--seed", "1"], check=True, cwd=ROOT)
    old = hashes(target)
    for seconds in (4.0, 8.0, 12.0):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            break
        if target.exists():
            assert hashes(target) == old
    subprocess.run(command, check=True, cwd=ROOT)
    assert {path.name for path in tmp_path.iterdir()} <= {"b", ".b.lock"}
    assert hashes(target) == hashes(tiny_bundle)
