"""`import vlscore`: the names of `runtime`, and what hides the rooms is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import runtime
from tests.configs import ROOT

DOOR = """
import sys, importlib.util as util
sys.path[:0] = {path!r}
spec = util.spec_from_file_location("vlscore", {file!r})
door = util.module_from_spec(spec)
spec.loader.exec_module(door)
{rest}
"""


def run(path: list[str], rest: str) -> subprocess.CompletedProcess[str]:
    """Import the door as the installed package does, with these folders first on the path."""
    code = DOOR.format(path=path, file=str(ROOT / "runtime/vlscore/__init__.py"), rest=rest)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=False)


def test_the_door_has_every_name_of_runtime_and_imports_nothing_heavy() -> None:
    names = ", ".join(f"door.{name}" for name in runtime.__all__)
    found = run([str(ROOT)], f"assert 'numpy' not in sys.modules; {names}; assert door.__version__ == {runtime.__version__!r}")
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("hidden", ["runtime.py", "engine/__init__.py"])
def test_a_file_that_hides_a_room_is_named(tmp_path: Path, hidden: str) -> None:
    (tmp_path / hidden).parent.mkdir(exist_ok=True)
    (tmp_path / hidden).write_text("mine = True\n")
    found = run([str(tmp_path), str(ROOT)], "")
    assert found.returncode == 1
    assert (
        f"`{hidden.split('.', maxsplit=1)[0].split('/', maxsplit=1)[0]}` was found at {tmp_path / hidden}, which is not vlscore's"
        in found.stderr
    )
