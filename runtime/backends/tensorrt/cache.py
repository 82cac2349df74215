"""Built engines, stored in a folder: one file per graph, card, version and set of options; a stale one is never loaded.

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

from runtime.backends.tensorrt.build import EngineOptions
from runtime.backends.tensorrt.driver import EngineTarget
from runtime.errors import DeviceError
from runtime.files import write_atomically

SCHEMA = 2  # of the description beside an engine, and of how engines are built
FOLDER = ".tensorrt"  # in the folder of bundles
WRITABLE_BY_OTHERS = 0o022  # by the group or by everybody
PRIVATE = 0o600
Policy = Literal["rebuild", "refuse"]


@dataclass(frozen=True, slots=True)
class EngineKey:
    """All that an engine depends on; the graph's hash covers its weights, and with them precision and batch."""

    graph: str
    tensorrt: str
    target: EngineTarget
    options: EngineOptions
    schema: int = SCHEMA

    def digest(self) -> str:
        """A short name for all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:24]


class EngineCache:
    """The folder of built engines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_owner(folder)

    def path(self, name: str, key: EngineKey) -> Path:
        """Where the engine of a graph is stored."""
        return self.folder / f"{name}-{key.digest()}.plan"

    def load(self, name: str, key: EngineKey) -> tuple[bytes | None, str]:
        """The engine for exactly this key, or None and the reason."""
        path = self.path(name, key)
        if not path.is_file():
            return None, self.explain_missing(name, key)
        try:
            description = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            return None, f"`{path.name}` has no readable description ({error})"
        if description.get("key") != asdict(key):
            return None, f"`{path.name}` was built for something else"
        check_owner(path)
        plan = path.read_bytes()
        if hashlib.sha256(plan).hexdigest() != description.get("sha256"):
            return None, f"`{path.name}` was altered after it was built, or was cut short"
        return plan, ""

    def explain_missing(self, name: str, key: EngineKey) -> str:
        """In what the stored engines of that name differ from the one asked for."""
        reasons = []
        for path in sorted(self.folder.glob(f"{name}-*.json")):
            with contextlib.suppress(OSError, ValueError):
                reasons.append(difference(json.loads(path.read_text(encoding="utf-8")).get("key", {}), asdict(key)))
        return "; ".join(dict.fromkeys(filter(None, reasons))) or "none was built yet"

    def store(self, name: str, key: EngineKey, plan: bytes, seconds: float) -> Path:
        """Write an engine and its description; each appears whole or not at all, the description last."""
        path = self.path(name, key)
        write_atomically(path, plan, mode=PRIVATE)
        description = {
            "key": asdict(key),
            "sha256": hashlib.sha256(plan).hexdigest(),
            "bytes": len(plan),
            "seconds": round(seconds, 1),
        }
        write_atomically(path.with_suffix(".json"), (json.dumps(description, indent=1) + "\n").encode(), mode=PRIVATE)
        return path

    def timing_cache(self, key: EngineKey) -> Path:
        """The file of measured speeds of layers, for one card and version."""
        name = json.dumps([key.tensorrt, asdict(key.target)], sort_keys=True)
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.timing"

    def store_timings(self, key: EngineKey, timings: bytes) -> None:
        """Keep measured speeds of layers for the next build."""
        write_atomically(self.timing_cache(key), timings, mode=PRIVATE)

    @contextlib.contextmanager
    def locked(self, name: str, key: EngineKey) -> Iterator[None]:
        """One build of an engine at a time, in all processes; the others wait and find it stored."""
        with self.path(name, key).with_suffix(".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def difference(theirs: dict[str, object], ours: dict[str, object]) -> str:
    """The fields in which another engine differs, as a sentence."""
    names = {
        "graph": "graph or weights",
        "tensorrt": "TensorRT",
        "target": "card or CUDA",
        "options": "options",
        "schema": "vlscore",
    }
    differing = [f"another {names[field]}" for field, value in ours.items() if theirs.get(field) != value]
    return "there is one for " + " and ".join(differing) if differing else ""


def check_owner(path: Path) -> None:
    """Refuse a file or folder that others own or may write to."""
    state = path.stat()
    if state.st_uid != os.geteuid() or state.st_mode & WRITABLE_BY_OTHERS:
        raise DeviceError(
            f"asked for engines from `{path}`; found that others own it or may write to it. Cause: an engine is code. Repair: "
            f"`chmod go-w {path}`, or set VLSCORE_HOME to a folder of your own"
        )
