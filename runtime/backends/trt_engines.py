"""Built engines, kept in a folder: one file per graph, card, version and set of options; a stale one is never tried.

An engine is code that runs on the card and, in part, on the host: it is only loaded from a folder that belongs to the user
and that nobody else may write to.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from runtime.backends.cuda_memory import Card
from runtime.backends.trt_build import BuildOptions
from runtime.errors import DeviceError

SCHEMA = 1  # of the sidecar, and of how we build
FOLDER = ".tensorrt"  # in the folder of bundles
OTHERS = 0o022  # may write: group and world
Policy = Literal["rebuild", "refuse"]


@dataclass(frozen=True, slots=True)
class Key:
    """All that an engine depends on; the graph's hash covers its weights, and with them precision and batch."""

    graph: str
    tensorrt: str
    card: Card
    options: BuildOptions
    schema: int = SCHEMA

    def digest(self) -> str:
        """A short name for all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:24]


class Engines:
    """The folder of engines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_owner(folder)

    def path(self, name: str, key: Key) -> Path:
        """Where the engine of a graph lies."""
        return self.folder / f"{name}-{key.digest()}.plan"

    def find(self, name: str, key: Key) -> tuple[bytes | None, str]:
        """The engine for exactly this key, and nothing; or nothing, and why."""
        path = self.path(name, key)
        if not path.is_file():
            return None, self.why_none(name, key)
        try:
            sidecar = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return None, f"`{path.name}` has no readable description ({error})"
        if sidecar.get("key") != asdict(key):
            return None, f"`{path.name}` was built for something else"
        check_owner(path)
        plan = path.read_bytes()
        if hashlib.sha256(plan).hexdigest() != sidecar.get("sha256"):
            return None, f"`{path.name}` was altered after it was built, or was cut short"
        return plan, ""

    def why_none(self, name: str, key: Key) -> str:
        """What differs between what is asked for and the engines of that name that lie here."""
        reasons = []
        for path in sorted(self.folder.glob(f"{name}-*.json")):
            with contextlib.suppress(OSError, ValueError):
                reasons.append(difference(json.loads(path.read_text(encoding="utf-8")).get("key", {}), asdict(key)))
        return "; ".join(dict.fromkeys(filter(None, reasons))) or "none was built yet"

    def keep(self, name: str, key: Key, plan: bytes, seconds: float) -> Path:
        """Write an engine and its description; each appears whole or not at all, the description last."""
        path = self.path(name, key)
        write(path, plan)
        about = {"key": asdict(key), "sha256": hashlib.sha256(plan).hexdigest(), "bytes": len(plan), "seconds": round(seconds, 1)}
        write(path.with_suffix(".json"), (json.dumps(about, indent=1) + "\n").encode())
        return path

    def timing_cache(self, key: Key) -> Path:
        """What was learnt about the speed of layers, for one card and version."""
        about = json.dumps([key.tensorrt, asdict(key.card)], sort_keys=True)
        return self.folder / f"{hashlib.sha256(about.encode()).hexdigest()[:16]}.timing"

    @contextlib.contextmanager
    def locked(self, name: str, key: Key) -> Iterator[None]:
        """One build of an engine at a time, whatever the process; the others wait and find it done."""
        with self.path(name, key).with_suffix(".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def difference(theirs: dict[str, object], ours: dict[str, object]) -> str:
    """The fields in which another engine differs, in words."""
    names = {
        "graph": "graph or weights",
        "tensorrt": "TensorRT",
        "card": "card or CUDA",
        "options": "options",
        "schema": "vlscore",
    }
    off = [f"another {names[field]}" for field, value in ours.items() if theirs.get(field) != value]
    return "there is one for " + " and ".join(off) if off else ""


def check_owner(path: Path) -> None:
    """Refuse what others own or may write to."""
    state = path.stat()
    if state.st_uid != os.geteuid() or state.st_mode & OTHERS:
        raise DeviceError(
            f"asked for engines from `{path}`; found that others own it or may write to it. Cause: an engine is code. Repair: "
            f"`chmod go-w {path}`, or set VLSCORE_HOME to a folder of your own"
        )


def write(path: Path, content: bytes) -> None:
    """Write a file that appears whole or not at all."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}.part")
    fresh.write_bytes(content)
    fresh.chmod(0o600)
    fresh.replace(path)
