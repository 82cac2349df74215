"""What `locate` writes about all pictures: JSON, lines of JSON, CSV, and labels for other tools."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from runtime.cli.inputs import Source
from runtime.cli.outputs import STDOUT, Wanted
from runtime.files import write_atomically
from runtime.localization import Localization

COLUMNS = ("picture", "query", "present", "score", "x0", "y0", "x1", "y1", "margin", "similarity", "error")


def write_text(target: str, text: str) -> None:
    """Write to a file, or to stdout for `-`."""
    if target == STDOUT:
        sys.stdout.write(text)
    else:
        write_atomically(target, text.encode("utf-8", "backslashreplace"))  # names may hold halves of characters


def csv_text(entries: Sequence[dict[str, Any]]) -> str:
    """A line per box; a query without one, and a picture that failed, have a line as well."""
    stream = io.StringIO()
    table = csv.writer(stream, lineterminator="\n")
    table.writerow(COLUMNS)
    for entry in entries:
        if "answers" not in entry:
            table.writerow([entry["picture"], *[""] * (len(COLUMNS) - 2), entry["error"]])
        for answer in entry.get("answers", ()):
            about = (answer["margin"], answer["similarity"], entry.get("error", ""))
            start = (entry["picture"], answer["query"], "yes" if answer["present"] else "no")
            for box in answer["boxes"]:
                table.writerow([*start, box["score"], *box["xyxy"], *about])
            if not answer["boxes"]:
                table.writerow([*start, *[""] * 5, *about])
    return stream.getvalue()


@contextlib.contextmanager
def line_writer(target: str | None, resumed: bool) -> Iterator[IO[str] | None]:
    """The open file of `--jsonl`: begun anew, or gone on with after its last whole line."""
    if target is None or target == STDOUT:
        yield sys.stdout if target else None
        return
    if resumed:
        drop_cut_line(Path(target))
    with open(target, "a" if resumed else "w", encoding="utf-8", errors="backslashreplace") as file:
        yield file


def drop_cut_line(path: Path) -> None:
    """Take away what an interrupted writer left of its last line."""
    with contextlib.suppress(FileNotFoundError), path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


def answered(target: str, queries: Sequence[str], model: str, same: Mapping[str, Any]) -> set[str]:
    """The pictures that a `--jsonl` file answers already, for the same queries and model, asked in the `same` way."""
    done: set[str] = set()
    try:
        lines = Path(target).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return done
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, KeyError):  # a line that somebody else wrote, or that was cut
            entry = json.loads(line)
            asked = [{name: answer[name] for name in ("query", *same)} for answer in entry["answers"]]
            if asked == [{"query": query, **same} for query in queries] and entry["model"] == model and "error" not in entry:
                done.add(entry["picture"])
    return done


class Labels:
    """Collects what formats of labelling tools need, without the pixels, and writes it at the end."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted.labels
        self.answers: dict[str, list[Localization]] = {}

    def add(self, source: Source, found: Sequence[Localization]) -> None:
        """Keep the answers to one picture."""
        if self.wanted:
            self.answers[str(source)] = [dataclasses.replace(answer, picture=None, spread=None) for answer in found]

    def write(self) -> None:
        """Write every format asked for; file names are given without folders where that leaves them distinct."""
        if not self.wanted:
            return
        from runtime.interop import write_labels

        names = [Path(name).name for name in self.answers]
        distinct = len(set(names)) == len(names)
        named = dict(zip(names, self.answers.values(), strict=True)) if distinct else self.answers
        for kind, path in self.wanted:
            write_labels(kind, path, named)
