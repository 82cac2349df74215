"""The room stays light: importing the method brings in no framework."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import engine

MODULES = sorted(path.stem for path in Path(engine.__file__).parent.glob("*.py") if path.stem != "__init__")
HEAVY = ("torch", "open_clip", "onnx", "onnxruntime", "PIL", "tokenizers")


def test_importing_every_module_loads_no_framework() -> None:
    lines = [f"import engine.{name}" for name in MODULES]
    lines.append(f"import sys; print([name for name in {HEAVY!r} if name in sys.modules])")
    root = Path(engine.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_conventions_are_written_down() -> None:
    assert engine.__doc__ is not None
    for word in ("half-open", "upsampled", "mean colour", "raw", "strictly", "4-connected"):
        assert word in engine.__doc__
