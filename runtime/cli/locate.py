"""The command `locate`: open the model, answer every input, write and print what was found."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime import __version__
from runtime.cli.asking import Asker, Outcome
from runtime.cli.crops import write_crops
from runtime.cli.errors import ABSENT, REFUSED, describe, say_error, say_warning
from runtime.cli.inputs import Source, is_scene
from runtime.cli.lists import Labels, answered, csv_text, line_writer, write_text
from runtime.cli.outputs import OutputFiles
from runtime.cli.progress import Bar
from runtime.cli.report import FEW, Report
from runtime.drawing import draw, write_picture
from runtime.errors import PictureError
from runtime.localization import Localization
from runtime.localizer import Localizer
from runtime.pictures import read_picture


@dataclass(frozen=True)
class Request:
    """Everything that `locate` was asked for; `opening` is how the model is opened, by the names of `Localizer`."""

    sources: Sequence[Source]
    queries: list[str]
    targets: OutputFiles
    model: str | None
    opening: Mapping[str, Any]
    heat: bool = True
    masks: bool = False
    quiet: bool = False
    verbose: bool = False
    resume: bool = False
    fail_if_absent: bool = False

    @property
    def talks(self) -> bool:
        """Whether tables go to stdout."""
        return not self.quiet and not self.targets.wanted.to_stdout

    @property
    def in_full(self) -> bool:
        """Whether every picture gets a table of its own."""
        return self.verbose or len(self.sources) <= FEW


def run(request: Request) -> int:
    """Do what was asked; gives the exit code."""
    started = time.perf_counter()
    if not any(os.path.exists(source) for source in request.sources):
        return refuse_missing(request.sources)  # before a model is opened for nothing
    request.targets.prepare()
    wanted, labels = request.targets.wanted, Labels(request.targets.wanted)
    with Bar(shown=sys.stderr.isatty() and not request.quiet) as bar:
        bar.say("opening the model")
        localizer = open_model(request)
        if not localizer.info["trained"]:
            with bar.aside():
                say_warning(f"the weights of {localizer.info['model']} are random, not trained: the boxes mean nothing")
        sources = left_to_do(request, localizer)
        with line_writer(wanted.lines, request.resume) as lines:
            entries = []
            for outcome in answer_all(request, sources, localizer, bar):
                entries.append(conclude(request, outcome, labels, bar))
                if lines is not None:
                    lines.write(json.dumps({"model": localizer.info["model"], **entries[-1]}, allow_nan=False) + "\n")
                    lines.flush()
    seconds = time.perf_counter() - started
    passes = sum(entry.pop("passes_now") for entry in entries)
    about = {"vlscore": __version__, "model": localizer.info, "passes": passes, "seconds": round(seconds, 3)}
    if wanted.json is not None:
        write_text(wanted.json, json.dumps({**about, "pictures": entries}, indent=2, allow_nan=False) + "\n")
    if wanted.csv is not None:
        write_text(wanted.csv, csv_text(entries))
    failed = [entry for entry in entries if "error" in entry and "answers" not in entry]
    nothing_read = bool(failed) and len(failed) == len(request.sources)
    if request.talks and not nothing_read:  # else the errors say it all
        report = Report(request.verbose)
        if not request.in_full or len(sources) < len(request.sources):
            report.pictures(entries, request.queries, wanted.out, len(request.sources) - len(sources))
        report.summary(localizer.info, passes, seconds)
    for entry in entries:
        if "error" in entry:
            say_error(entry["error"])
    labels.write()  # last: what it refuses must not hide what was found
    return exit_code(request, entries)


def refuse_missing(sources: Sequence[Source]) -> int:
    """Say of every input what is wrong with its path."""
    for source in sources:
        try:
            read_picture(source)
        except PictureError as error:
            say_error(error)
    return REFUSED


def open_model(request: Request) -> Localizer:
    """Open the model; saved scenes do not need its image half."""
    scenes_only = all(is_scene(source.name) for source in request.sources)
    return Localizer(request.model, scenes_only=scenes_only, **request.opening)


def left_to_do(request: Request, localizer: Localizer) -> list[Source]:
    """The inputs, less those that an earlier run answered."""
    lines = request.targets.wanted.lines
    if not request.resume or lines is None:
        return list(request.sources)
    same = {
        "method": localizer.method.name,
        "preset": localizer.plan.preset,
        "spec": localizer.spec.to_dict(),
    }
    done = answered(lines, request.queries, localizer.info["model"], same)
    return [source for source in request.sources if str(source) not in done]


def answer_all(request: Request, sources: Sequence[Source], localizer: Localizer, bar: Bar) -> Iterator[Outcome]:
    """Answer every input, telling the bar how many are done."""
    count, found = len(sources), 0
    asker = Asker(localizer, request.queries, request.targets.scenes, bar)
    bar.say(sources[0].name if count == 1 else f"0 of {count} pictures")
    for done, outcome in enumerate(asker.outcomes(sources), start=1):
        found += any(len(answer) for answer in outcome.found)
        yield outcome
        bar.say(f"{done} of {count} pictures, {found} with something found")


def conclude(request: Request, outcome: Outcome, labels: Labels, bar: Bar) -> dict[str, Any]:
    """Draw, cut out and print one outcome; gives its entry for the JSON."""
    entry: dict[str, Any] = {"picture": str(outcome.source), "passes_now": outcome.passes}
    if outcome.error:
        return {**entry, "error": outcome.error}
    entry["answers"] = [answer.to_dict() for answer in outcome.found]
    labels.add(outcome.source, outcome.found)
    drawn = request.targets.drawn.get(outcome.source)
    try:
        if drawn is not None:
            draw_found(outcome.found, drawn, request)
            entry["drawn"] = str(drawn)
        if outcome.source in request.targets.crops:
            entry["crops"] = [str(file) for file in write_crops(outcome.found, request.targets.crops[outcome.source])]
    except Exception as error:  # of any kind: the other pictures go on
        entry["error"], drawn = describe(error), None
    if outcome.source in request.targets.scenes:
        entry["scene"] = str(request.targets.scenes[outcome.source])
    if request.talks and request.in_full:
        with bar.aside():
            Report(request.verbose).picture(outcome.source, outcome.found, drawn)
    return entry


def draw_found(found: Sequence[Localization], target: Path, request: Request) -> None:
    """Draw the answers to one picture, several as panels, into one file."""
    picture = found[0].picture
    if picture is None:
        raise PictureError(f"`{target}` was not drawn: the scene was saved without its picture")
    write_picture(target, draw(picture, list(found), heat=request.heat, masks=request.masks))


def exit_code(request: Request, entries: Sequence[dict[str, Any]]) -> int:
    """1 when an input was refused, else 3 when a query without a box should count as failure, else 0."""
    if any("error" in entry for entry in entries):
        return REFUSED
    absent = any(not answer["boxes"] for entry in entries for answer in entry["answers"])
    return ABSENT if request.fail_if_absent and absent else 0
