"""The run: every picture of a shard that has no record yet gets one, whatever interrupts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.evaluate.answers import FolderAnswers, ModelAnswers, Seen
from bench.evaluate.data import DataError, DataSet, Sample
from bench.evaluate.judge import Kernels, judge
from bench.evaluate.records import Records
from engine.spec import Spec

Tick = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Work:
    """What is judged, and how."""

    data: DataSet
    answers: ModelAnswers | FolderAnswers
    spec: Spec
    protocols: tuple[str, ...]
    kernels: Kernels
    dump: Path | None = None


def run(work: Work, records: Records, shard: tuple[int, int], tick: Tick) -> None:
    """Judge the pictures of a shard that are still to do; one that cannot be judged is recorded as left out, with the reason."""
    todo = [place for place in range(shard[0], len(work.data.keys), shard[1]) if work.data.keys[place] not in records.done]
    done = 0
    tick(done, len(todo))

    def skip(key: str, error: Exception) -> None:
        nonlocal done
        records.add(key, {"skipped": str(error) or type(error).__name__})
        done += 1
        tick(done, len(todo))

    for sample, seen in work.answers.answers(samples(work.data, todo, skip), skip):
        try:
            record = judge(sample, seen, work.spec, work.protocols, work.kernels)
        except (DataError, ValueError) as error:
            skip(sample.key, error)
            continue
        if work.dump is not None:
            dump_maps(work.dump, sample, seen)
        records.add(sample.key, record)
        done += 1
        tick(done, len(todo))


def samples(data: DataSet, places: Sequence[int], skip: Callable[[str, Exception], None]) -> Iterator[Sample]:
    """The truths that can be read, one at a time."""
    for place in places:
        try:
            sample = data.read(place)
        except ModuleNotFoundError:  # nothing can be read without it
            raise
        except Exception as error:  # of any kind: one picture's odd truth must not end the work on all others
            skip(data.keys[place], error)
        else:
            yield sample


def dump_maps(folder: Path, sample: Sample, seen: Seen) -> None:
    """Write score maps as the public evaluator reads them; of several labels, each by its number in a folder of the key."""
    for answer in seen.there:
        name = f"{sample.key}.npy" if len(seen.there) == 1 else f"{sample.key}/{answer.label}.npy"
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, answer.scores())


def summary(records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How many pictures and questions there are, and why others were left out."""
    skipped = {key: record["skipped"] for key, record in records.items() if "skipped" in record}
    judged = [record for record in records.values() if "skipped" not in record]
    return {
        "pictures": len(judged),
        "questions": sum(len(record["things"]) for record in judged),
        "skipped": len(skipped),
        "skipped_examples": dict(list(skipped.items())[:5]),
    }
