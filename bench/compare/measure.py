"""One comparison from start to end: reference, set-up, rounds, whole pictures, further queries, fresh interpreters."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Any

from bench.compare import card
from bench.compare.contenders import MAIN, PYTORCH, Contender, by_group
from bench.compare.machine import MatrixRates, busy, describe, versions
from bench.compare.record import SCHEMA, Record, Row, by_kind, describe_task, quartiles, rounded
from bench.compare.rounds import take_turns
from bench.compare.starts import build_bundles, time_starts
from bench.compare.task import Reference, Task, UnavailableError, WholePicture
from bench.compare.worker import Worker
from bench.terminal import Say

SET_UP = 0.6  # of a group's time, after which no further contender is set up
PATIENCE_S = 600.0  # for one turn, and for whatever else is short
LIBRARIES = ("torch", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "cuda-bindings", "open_clip_torch", "numpy")


@dataclass(frozen=True)
class Effort:
    """How long to measure, and what besides the rounds."""

    rounds: int = 5
    budget: float = 1800.0  # seconds for setting up and for the rounds
    whole: bool = False  # afterwards one whole picture by each
    queries: int = 1000  # further ones on an encoded picture; 0: none
    starts: bool = True  # fresh interpreters
    build: bool = False  # bundles that are not there


@dataclass
class Measured:
    """Everything known so far, and the contenders that are ready, each in its process."""

    reference: Reference
    rows: dict[str, Row] = field(default_factory=dict)
    workers: dict[str, Worker] = field(default_factory=dict)
    rates: list[dict[str, float]] = field(default_factory=list)  # GFLOP/s of matrix products, round by round
    others: list[float] = field(default_factory=list)  # the share of the machine that other work took meanwhile
    states: list[dict[str, Any]] = field(default_factory=list)  # of a card
    rounds: int = 0

    def drop(self, contender: Contender, reason: str) -> None:
        """Leave a contender out and say why."""
        self.rows[contender.name] = Row.refuse(contender, reason)
        if contender.name in self.workers:
            self.workers.pop(contender.name).close()


def measure(task: Task, effort: Effort, contenders: Sequence[Contender], say: Say) -> Record:
    """Run the comparison and give its record; raises UnavailableError where there is no such device at all."""
    with Worker(MatrixRates, (task,), task.threads) as matrices:
        seen = look_at_card(task, matrices) if task.on_card else {}
        task = replace(task, batch=task.batch or card.fitting_batch(seen.get("memory_mib", 0.0)))
        built = build_bundles(task, contenders, say) if effort.build else {}
        say("asking the oracle")
        with Worker(make_oracle, (task,), task.threads) as oracle:
            measured = Measured(oracle.ask("reference"))
        end = time.monotonic() + effort.budget
        waiting = len(contenders)
        for group in by_group(contenders):
            share = (end - time.monotonic()) * len(group) / waiting
            compare_group(measured, task, replace(effort, budget=share), group, say, matrices)
            waiting -= len(group)
    best = {kind: rounded(max(values)) for kind, values in by_kind(measured.rates).items()}
    for row in measured.rows.values():
        row.add_rate(measured.reference, best)
    main = [each for each in contenders if each.name in MAIN and not measured.rows[each.name].reason]
    return {
        "schema": SCHEMA,
        "machine": {**describe(task.threads), "busy": round(max(measured.others), 3)},
        "card": seen,
        "versions": versions(*LIBRARIES),
        "task": describe_task(task, measured.reference, measured.rounds),
        "bundles": built,
        "matrix_gflops": {kind: quartiles(values) for kind, values in by_kind(measured.rates).items()},
        "matrix_best_gflops": best,
        "states": measured.states,
        "contenders": [measured.rows[contender.name].to_dict() for contender in contenders],
        "queries": further_queries(main, task, measured.reference, effort.queries, say) if effort.queries else {},
        "starts": time_starts(main, task, say) if effort.starts else {},
    }


def make_oracle(task: Task) -> Any:  # noqa: ANN401 - imported by name: its module needs PyTorch
    """The oracle, which makes the reference; imported by its own process alone."""
    return import_module(PYTORCH).Oracle(task)


def look_at_card(task: Task, matrices: Worker) -> dict[str, Any]:
    """The card as its driver's tool and PyTorch see it; either may be missing, both is no card."""
    found: dict[str, Any] = matrices.ask("about")
    try:
        return {**found, **card.read_card(task.card_number)}
    except UnavailableError as error:
        if "name" not in found:
            raise UnavailableError(f"device `{task.device}`: {error}; {found['pytorch']}") from None
        return {**found, "driver_tool": str(error)}


def compare_group(measured: Measured, task: Task, effort: Effort, group: Sequence[Contender], say: Say, matrices: Worker) -> None:
    """Set the contenders up, check each, then let them take turns; their processes end with the group."""
    began = time.monotonic()
    try:
        for contender in group:
            left = began + SET_UP * effort.budget - time.monotonic()
            if left > 0:
                say(f"setting up: {contender.title}")
                set_up(measured, contender, task, left)
            else:
                measured.drop(contender, "the time for setting up was spent before it")
        budget = effort.budget - (time.monotonic() - began)
        take_rounds(measured, group, task, replace(effort, budget=budget), say, matrices)
        if effort.whole:
            whole_pictures(measured, group, say)
    finally:
        for worker in measured.workers.values():
            worker.close()
        measured.workers.clear()


def set_up(measured: Measured, contender: Contender, task: Task, patience: float) -> None:
    """Start a contender and check what it computes: one that disagrees with the oracle never sees a clock."""
    before = used_mib(task)
    worker = measured.workers[contender.name] = Worker(contender.prepare, (task, measured.reference), task.threads)
    try:
        worker.ready(patience)
        agreement = worker.ask("check", patience=patience)
        if reason := contender.disagreement(agreement, task.trained):
            raise UnavailableError(f"it disagrees with the oracle: {reason}")
        row = measured.rows[contender.name] = Row.begin(contender, worker.ask("facts"), agreement)
    except UnavailableError as error:
        measured.drop(contender, str(error))
    else:
        if before is not None and (after := used_mib(task)) is not None:
            row.extra["device_mib"] = rounded(after - before)


def used_mib(task: Task) -> float | None:
    """What of the card's memory is in use, by anybody."""
    return card.read_state(task.card_number).get("used_mib") if task.on_card else None


def take_rounds(measured: Measured, group: Sequence[Contender], task: Task, effort: Effort, say: Say, matrices: Worker) -> None:
    """Let everybody take turns; after each round look at the machine itself. A contender that failed is dropped."""

    def look_at_machine() -> None:
        say("the machine itself")
        measured.others.append(busy())
        measured.rates.append(matrices.ask("rates"))
        if task.on_card:
            measured.states.append(card.read_state(task.card_number))

    turns = {name: partial(worker.ask, "turn", patience=PATIENCE_S) for name, worker in measured.workers.items()}
    taken = take_turns(turns, effort.rounds, effort.budget, say, look_at_machine)
    measured.rounds = max(measured.rounds, taken.rounds)
    for contender in group:
        if contender.name in taken.failures:
            measured.drop(contender, taken.failures[contender.name])
    for name, worker in measured.workers.items():
        measured.rows[name].add_turns(taken.turns[name])
        measured.rows[name].peak_mib = rounded(worker.ask("peak_mib"))


def whole_pictures(measured: Measured, group: Sequence[Contender], say: Say) -> None:
    """One picture from end to end by each; its process ends after it, so that memory is there for the next."""
    published: WholePicture | None = None
    for contender in (each for each in group if each.name in measured.workers):
        say(f"a whole picture: {contender.name}")
        row, worker = measured.rows[contender.name], measured.workers[contender.name]
        try:
            found: WholePicture = worker.ask("whole")
            published = found if contender.name == "published" else published
            row.add_whole(found, published, measured.reference.live)
            row.peak_mib = rounded(worker.ask("peak_mib"))
            measured.workers.pop(contender.name).close()
        except UnavailableError as error:
            measured.drop(contender, str(error))


def further_queries(
    contenders: Sequence[Contender], task: Task, reference: Reference, several: int, say: Say
) -> dict[str, dict[str, float]]:
    """What asking again costs: each in a process of its own, with the switches of whoever changes none."""
    found = {}
    for contender in contenders:
        say(f"further queries: {contender.name}")
        try:
            with Worker(contender.prepare, (replace(task, spec="default"), reference), task.threads) as worker:
                figures = worker.ask("queries", several, patience=PATIENCE_S)
            found[contender.name] = {key: rounded(value) for key, value in figures.items()}
        except UnavailableError as error:
            say(f"further queries by {contender.name}: not run: {error}")
    return found
