"""What a fresh interpreter loads: `import runtime` next to nothing, a whole answer no PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.configs import PICTURES, ROOT

NEVER = {
    "torch",
    "torchvision",
    "open_clip",
    "onnx",
    "onnxscript",
    "safetensors",
    "scipy",
    "matplotlib",
    "skimage",
    "export",
    "bench",
}


def loaded_after(code: str, *arguments: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after some code."""
    code += "\nimport json, sys\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    result = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_importing_runtime_loads_next_to_nothing() -> None:
    modules = loaded_after("import runtime\nassert runtime.__version__\nassert 'Localizer' in dir(runtime)")
    assert "runtime" in modules
    assert not modules & (
        NEVER | {"numpy", "cv2", "PIL", "onnxruntime", "tokenizers", "ftfy", "typer", "rich", "platformdirs", "engine"}
    )


def test_importing_the_localizer_does_not_load_the_backend() -> None:
    modules = loaded_after("from runtime import Localizer, Localization, Query, Scene, Spec")
    assert "numpy" in modules
    assert not modules & (NEVER | {"onnxruntime", "ftfy"})


WHOLE = """
import sys, tempfile
from pathlib import Path
from runtime import Localizer, Scene
localizer = Localizer(sys.argv[1], device="cpu", threads=2)
picture = Path(sys.argv[2])
scene = localizer.encode(picture)
found = localizer.locate(scene, ["a cat", "un chat \\u00e9gar\\u00e9"])
assert found[0].saliency.shape == (300, 451)
with tempfile.TemporaryDirectory() as folder:
    found[0].save(Path(folder) / "drawn.png")
    assert localizer.locate(Scene.load(scene.save(Path(folder) / "s.npz")), "a cat").to_dict() == found[0].to_dict()
assert len(list(localizer.stream([picture], "a cat"))) == 1
"""


def test_a_whole_answer_needs_no_pytorch(tiny_vit_bundle: Path) -> None:
    modules = loaded_after(WHOLE, str(tiny_vit_bundle), str(PICTURES / "cat.jpg"))
    assert modules >= {"numpy", "onnxruntime", "tokenizers", "PIL", "ftfy"}
    assert not modules & NEVER


@pytest.mark.parametrize("blocked", ["torch", "open_clip", "onnx", "matplotlib", "scipy"])
def test_the_runtime_does_not_even_try(blocked: str) -> None:
    """A guarded import would not show above on a machine that lacks the package."""
    files = [*(ROOT / "runtime").rglob("*.py"), *(ROOT / "engine").rglob("*.py")]
    assert files
    offenders = [
        path.name
        for path in files
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip().startswith((f"import {blocked}", f"from {blocked}")) and line.strip().split()[1].split(".")[0] == blocked
    ]
    assert offenders == []


def test_unknown_names_are_attribute_errors() -> None:
    import runtime

    with pytest.raises(AttributeError, match="has no attribute `Localiser`"):
        runtime.Localiser  # type: ignore[attr-defined]  # noqa: B018
    assert set(runtime.__all__) <= set(dir(runtime))
    assert all(getattr(runtime, name) is not None for name in runtime.__all__)


@pytest.mark.slow
def test_the_public_interface_is_typed() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", str(ROOT / "tests" / "typed_use.py")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
