"""One folder for a card's machine without a registry: code, bundles, reference, wheels, in parts, and the script that runs it."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

from bench.gpu.plan import KNOWING

ROOT = Path(__file__).parents[2]
CODE = ("engine", "runtime", "bench/__init__.py", "bench/agreement.py", "bench/gpu")
CARRIED = ("fp16", "int8-symmetric")  # precisions; float32 of a large model stays at home, its answers are carried
WHEELS = ("onnxruntime-gpu~=1.31.1", "numpy", "opencv-python-headless", "pillow", "tokenizers", "ftfy", "wcwidth", "platformdirs")
RTX = ("tensorrt_rtx_cu13_bindings==1.7.1.116", "onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0")  # NVIDIA's, for tests
GLIBC = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


class Parts(io.RawIOBase):
    """A stream that is cut into files of one size, each with its hash; a part appears whole or not at all."""

    def __init__(self, folder: Path, size: int) -> None:
        self.folder, self.size = folder, size
        self.part, self.done = bytearray(), list[dict[str, object]]()

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """Take bytes, and write every part that is full."""
        self.part += data
        while len(self.part) >= self.size:
            self.cut(self.size)
        return len(data)

    def cut(self, size: int) -> None:
        """Write one part, unless it lies there already."""
        content = bytes(self.part[:size])
        del self.part[:size]
        name, digest = f"part-{len(self.done):03}", hashlib.sha256(content).hexdigest()
        self.done.append({"name": name, "bytes": len(content), "sha256": digest})
        target = self.folder / name
        if not target.is_file() or hashlib.sha256(target.read_bytes()).hexdigest() != digest:
            (self.folder / "unfinished").write_bytes(content)
            (self.folder / "unfinished").replace(target)


def pack(folder: Path, out: Path, part: int, python: str) -> int:
    """Gather everything and cut it into parts; 0 when it is all there."""
    out.mkdir(parents=True, exist_ok=True)
    wheels = fetch_wheels(folder / f"wheels-{python}", python)
    parts = Parts(out, part << 20)
    with tarfile.open(fileobj=parts, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for source, name in contents(folder, wheels):
            archive.add(source, name, recursive=False, filter=plain)
    if parts.part:
        parts.cut(len(parts.part))
    for old in sorted(out.glob("part-*"))[len(parts.done) :]:
        old.unlink()
    (out / "parts.json").write_text(json.dumps({"python": python, "parts": parts.done}, indent=1) + "\n")
    shutil.copy(Path(__file__).with_name("carried.py"), out / "run.py")
    total = sum(int(str(each["bytes"])) for each in parts.done)
    print(f"{out}: {total / 2**20:.0f} MiB in {len(parts.done)} parts; there: python3 run.py")
    return 0


def contents(folder: Path, wheels: list[Path]) -> Iterator[tuple[Path, str]]:
    """Every file and its name in the archive, always in one order."""
    for each in CODE:
        files = [ROOT / each] if (ROOT / each).is_file() else sorted((ROOT / each).rglob("*"))
        yield from ((file, str(file.relative_to(ROOT))) for file in files if file.is_file() and "__pycache__" not in file.parts)
    every = sorted((folder / "bundles").iterdir())
    bundles = [path for path in every if path.name.endswith(CARRIED) or path.name == f"{KNOWING}-fp32"]
    for root in (*bundles, folder / "reference"):
        yield from ((file, f"work/{file.relative_to(folder)}") for file in sorted(root.rglob("*")) if file.is_file())
    yield from ((wheel, f"wheels/{wheel.name}") for wheel in wheels)


def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without owner and time: what did not change makes the same parts."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def fetch_wheels(folder: Path, python: str) -> list[Path]:
    """Download the wheels for another machine's Python, once; those of TensorRT-RTX where they can be had."""
    folder.mkdir(parents=True, exist_ok=True)
    platforms = [word for name in GLIBC for word in ("--platform", name)]
    common = ["--quiet", "--disable-pip-version-check", "--only-binary=:all:", "--no-deps", "--python-version", python]
    for wanted in (*WHEELS, *RTX):
        name = wanted.split("==")[0].split("~=")[0].replace("-", "_")
        if any(path.name.lower().startswith(f"{name.lower()}-") for path in folder.glob("*.whl")):
            continue
        words = [sys.executable, "-m", "pip", "download", *common, *platforms, "--dest", str(folder), wanted]
        if subprocess.run(words, check=False).returncode and wanted not in RTX:
            sys.exit(f"the wheel of {wanted} cannot be had")
    return sorted(folder.glob("*.whl"))
