"""`python3 run.py`, in a folder that `make gpu-pack` made: check the parts, unpack them, and measure this machine's card.

The standard library alone. Whatever was cut off goes on when it is run again; the record is written after every group.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
UNPACKED, SITE, STAMP = HERE / "unpacked", HERE / "site", "complete"
OF_THE_MACHINE = ("nvidia", "cuda", "tensorrt", "tensorrt_bindings", "tensorrt_libs")  # taken from its own packages, where there


class Parts(io.RawIOBase):
    """The parts one after another, as one file that is read once."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.file: io.FileIO | None = None

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any memory
        """The next bytes; none at the end."""
        while self.file or self.files:
            self.file = self.file or io.FileIO(self.files.pop(0))
            count = self.file.readinto(buffer)
            if count:
                return count
            self.file.close()
            self.file = None
        return 0


def faults(listed: list[dict[str, Any]]) -> list[str]:
    """Every part that is missing or not what was packed."""
    found = []
    for part in listed:
        path = HERE / part["name"]
        if not path.is_file():
            found.append(f"{part['name']} is missing")
        elif path.stat().st_size != part["bytes"] or sha256(path) != part["sha256"]:
            found.append(f"{part['name']} was cut or altered on its way: carry it again")
    return found


def sha256(path: Path) -> str:
    """Hash of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def complete(folder: Path, mark: str) -> bool:
    """Whether a folder was finished from these very parts."""
    return (folder / STAMP).is_file() and (folder / STAMP).read_text() == mark


def unpack(listed: list[dict[str, Any]], mark: str) -> None:
    """All parts into a folder."""
    shutil.rmtree(UNPACKED, ignore_errors=True)
    with tarfile.open(fileobj=io.BufferedReader(Parts([HERE / part["name"] for part in listed])), mode="r|") as archive:
        archive.extractall(UNPACKED, filter="data")
    (UNPACKED / STAMP).write_text(mark)


def install(mark: str) -> None:
    """The wheels into a folder of ours: nothing of the machine is changed. Its CUDA and TensorRT are linked beside them."""
    shutil.rmtree(SITE, ignore_errors=True)
    SITE.mkdir()
    for wheel in sorted((UNPACKED / "wheels").glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(SITE)
    for name in OF_THE_MACHINE:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations and not (SITE / name).exists():
            (SITE / name).symlink_to(next(iter(spec.submodule_search_locations)), target_is_directory=True)
    (SITE / STAMP).write_text(mark)


def main(arguments: list[str]) -> int:
    """Check, unpack, install, measure; `--device cpu` tries it without a card."""
    packed = json.loads((HERE / "parts.json").read_text())
    python = packed["python"]
    if sys.version_info[:2] != tuple(map(int, python.split("."))):
        sys.exit(f"this is Python {sys.version.split()[0]}, and the wheels are for {python}: run it with python{python}")
    wrong, mark = faults(packed["parts"]), sha256(HERE / "parts.json")
    if wrong:
        sys.exit("\n".join(wrong))
    if not complete(UNPACKED, mark):
        unpack(packed["parts"], mark)
    if not complete(SITE, mark):
        install(mark)
    done = run(["bench/gpu/check.py", *(["cpu"] if "cpu" in arguments else [])])
    if not done:
        done = run(["-m", "bench.gpu", "measure", "--folder", str(UNPACKED / "work"), *arguments])
    for record in sorted((UNPACKED / "work").glob("record-*.json")):
        shutil.copy(record, os.environ.get("OUT", HERE))
        print(f"record: {record.name}")
    return done


def run(words: list[str]) -> int:
    """Run what was carried. -S: the machine's own packages, an ONNX Runtime for the processor among them, are not seen."""
    paths = {"PYTHONPATH": os.pathsep.join(map(str, (UNPACKED, SITE))), "VLSCORE_HOME": str(HERE / "home")}
    return subprocess.run([sys.executable, "-S", *words], cwd=UNPACKED, env={**os.environ, **paths}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
