"""What was measured, one line per picture: appended whole, read back by key, and the same whoever wrote it and in which order."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.evaluate.data import DataError
from runtime.files import write_atomically

RUN = "run.json"


def packed(array: NDArray[Any]) -> dict[str, object]:
    """An array as JSON can hold it."""
    plain = np.ascontiguousarray(array)
    data = base64.b64encode(zlib.compress(plain.tobytes(), 6)).decode()
    return {"dtype": plain.dtype.str, "shape": list(plain.shape), "data": data}


def unpacked(entry: dict[str, Any]) -> NDArray[Any]:
    """The array that was packed."""
    flat = np.frombuffer(zlib.decompress(base64.b64decode(entry["data"])), np.dtype(entry["dtype"]))
    return flat.reshape(entry["shape"])


class Records:
    """The file that one process appends to; what other processes have done counts as done."""

    def __init__(self, folder: Path, settings: dict[str, Any], shard: tuple[int, int] = (0, 1)) -> None:
        """Begin, or go on with, the run of these settings; other settings in the same folder are refused."""
        folder.mkdir(parents=True, exist_ok=True)
        check_same(folder, settings)
        self.path = folder / f"records-{shard[0]}-of-{shard[1]}.jsonl"
        self.file = self.path.open("ab")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.close()
            raise DataError(f"`{self.path}` is being written by another process: wait for it, or take another shard") from error
        keep_whole_lines(self.path)
        self.done = set(read_records(folder))

    def add(self, key: str, record: dict[str, Any]) -> None:
        """Append one picture; the line reaches the disk before the next picture begins."""
        line = json.dumps({"key": key, **record}, separators=(",", ":")) + "\n"
        self.file.write(line.encode())
        self.file.flush()
        os.fsync(self.file.fileno())
        self.done.add(key)

    def close(self) -> None:
        """Let another process have the file."""
        self.file.close()


def check_same(folder: Path, settings: dict[str, Any]) -> None:
    """Write what the run is, or compare it with what it was begun as."""
    file, wanted = folder / RUN, json.loads(json.dumps(settings))
    if not file.exists():
        write_atomically(file, (json.dumps(wanted, indent=1) + "\n").encode())
        return
    begun = json.loads(file.read_text(encoding="utf-8"))
    differing = sorted(name for name in {*begun, *wanted} if begun.get(name) != wanted.get(name))
    if differing:
        first = differing[0]
        raise DataError(
            f"`{folder}` holds a run with another `{first}`: {begun.get(first)!r}, asked for {wanted.get(first)!r}; "
            "go on as it was begun, or give another --out"
        )


def keep_whole_lines(path: Path) -> None:
    """Cut off a line that a killed process left unfinished."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)


def read_records(folder: Path) -> dict[str, dict[str, Any]]:
    """All records of a run by key, sorted; of a picture that two processes did, one."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("records-*.jsonl")):
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break  # another process is writing it
                try:
                    record = json.loads(line)
                    found[record["key"]] = record
                except (ValueError, KeyError) as error:
                    raise DataError(f"`{path}`, line {number} is no record: remove it, and its picture is done anew") from error
    return dict(sorted(found.items()))
