"""The command `classify`: labels by how well they suit each picture, and where the best ones are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from runtime.classify import Label
from runtime.cli.errors import REFUSED, describe, say_error
from runtime.cli.inputs import expand, is_scene, leading, split
from runtime.cli.tables import new_table
from runtime.errors import QueryError
from runtime.localizer import Localizer
from runtime.query import Asked, Query
from runtime.scene import Scene


def run(
    arguments: Sequence[str], labels: Path | None, top_k: int, classifier: Localizer, finder: Localizer | None, as_json: bool
) -> int:
    """Classify every picture, and with a finder locate the best labels; gives the exit code."""
    listed = [] if labels is None else read_labels(labels, classifier.templates)
    names, words = (arguments, []) if listed and leading(arguments) == len(arguments) else split(arguments, [])
    asked: list[Asked] = [*listed, *words]
    failed = False
    for source in expand(names, recursive=False):
        try:
            picture = Scene.load(source) if is_scene(source.name) else source
            if finder is None:
                best = classifier.classify(picture, asked, top_k)
            else:
                best = finder.detect(picture, asked, top_k, classifier=classifier)
        except QueryError:  # it is the list that is wrong
            raise
        except Exception as error:  # of any kind: the other pictures go on
            failed = True
            say_error(describe(error))
            continue
        show(str(source), best, as_json)
    return REFUSED if failed else 0


def read_labels(path: Path, templates: tuple[str, ...]) -> list[Query]:
    """Labels out of a file, a line each; commas divide synonyms, empty lines count for nothing."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise QueryError(f"labels `{path}` cannot be read ({error}); give a text file with a label on each line") from None
    words = [[word.strip() for word in line.split(",") if word.strip()] for line in lines]
    found = [Query(each, templates) for each in words if each]
    if not found:
        raise QueryError(f"labels `{path}` are empty; give a text file with a label on each line")
    return found


def show(source: str, best: Sequence[Label], as_json: bool) -> None:
    """Print what suits one picture best."""
    if as_json:
        print(json.dumps({"picture": source, "labels": [entry(label) for label in best]}, allow_nan=False))
        return
    table = new_table()
    table.title, table.title_justify = source, "left"
    for name in ("label", "probability", "best box"):
        table.add_column(name, justify="left" if name == "label" else "right")
    for label in best:
        boxes = [] if label.found is None else label.found.xyxy.tolist()
        box = " ".join(f"{edge:.0f}" for edge in boxes[0]) if boxes else "-"
        table.add_row(label.label, f"{label.probability:.3f}", box)
    Console().print(table)


def entry(label: Label) -> dict[str, object]:
    """One label as JSON."""
    plain: dict[str, object] = {"label": label.label, "probability": label.probability, "similarity": label.similarity}
    return plain if label.found is None else {**plain, "found": label.found.to_dict()}
