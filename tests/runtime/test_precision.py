"""Asked precisions are used or refused with asked, found, cause and repair; what was used is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from engine.spec import DEFAULT
from runtime import DeviceError, Localizer, Scene
from runtime.precision import check_base, check_built, choose_precision


@dataclass
class Some:
    """As much of a backend as the choice looks at."""

    device: str
    precisions: tuple[str, ...]
    detail: str = "some backend"

    def open(self, graph: Path, precision: str = "fp32") -> Any:
        raise NotImplementedError


ORT, OLD, NEW = Some("cpu", ("fp32",)), Some("openvino", ("fp32",)), Some("openvino", ("fp32", "bf16"))


@pytest.mark.parametrize("built", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("backend", [ORT, OLD, NEW])
def test_unasked_or_as_built_is_as_built(built: str, backend: Some) -> None:
    for asked in (None, built):
        check_built(asked, built)
        assert choose_precision(asked, built, backend) == built


def test_bf16_where_it_is() -> None:
    check_built("bf16", "fp32")
    assert choose_precision("bf16", "fp32", NEW) == "bf16"
    with pytest.raises(DeviceError, match=r"asked for precision `bf16` on `cpu`; found fp32. Cause: .*'vlscore\[openvino\]'"):
        choose_precision("bf16", "fp32", ORT)
    with pytest.raises(DeviceError, match=r"on `openvino`; found fp32. Cause: this processor has neither"):
        choose_precision("bf16", "fp32", OLD)


@pytest.mark.parametrize(
    ("asked", "built", "message"),
    [
        ("fp8", "fp32", "precision `fp8` is unknown; choose from fp32, bf16, tf32, fp16, int8, int8-symmetric"),
        ("bf16", "int8", "found a bundle built in int8. Cause: only fp32 bundles can run in bf16"),
        ("tf32", "fp16", "found a bundle built in fp16. Cause: only fp32 bundles can run in tf32"),
        ("int8", "fp32", "Cause: int8 is baked .* --precision int8"),
        ("fp32", "int8", "Cause: fp32 is baked .* --precision fp32"),
    ],
)
def test_what_a_bundle_cannot_do(asked: str, built: str, message: str) -> None:
    with pytest.raises(DeviceError, match=message):
        check_built(asked, built)


def test_a_black_base_needs_float32() -> None:
    black = DEFAULT.replace(base="black")
    check_base("fp32", black)
    check_base("bf16", DEFAULT)
    with pytest.raises(DeviceError, match="asked for base `black` in bf16"):
        check_base("bf16", black)


def test_onnx_runtime_refuses_bf16(tiny_bundle: Path) -> None:
    with pytest.raises(DeviceError, match=r"asked for precision `bf16` on `cpu`; found fp32. Cause: ONNX Runtime has no bf16"):
        Localizer(tiny_bundle, device="cpu", precision="bf16")


def test_scenes_tell_their_precision(cat_scene: Scene, tmp_path: Path) -> None:
    assert cat_scene.precision == cat_scene.about()["precision"] == "fp32"
    assert Scene.load(cat_scene.save(tmp_path / "s.npz")).precision == "fp32"
