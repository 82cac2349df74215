"""One group of ways on the device: set up, checked, then timed in turns."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from bench.compare.job import Job, Reference, UnavailableError
from bench.compare.machine import busy
from bench.compare.measure import Crew, asker, enlist
from bench.compare.rounds import take_turns
from bench.compare.rows import add_rate, add_turns, rounded
from bench.compare.workers import Worker
from bench.gpu import card
from bench.gpu.run import Run
from bench.gpu.timed import TimedWorker
from bench.gpu.ways import Group

SET_UP = 0.65  # of a group's time: engines are built and graphs compiled then
TURNS = 0.9  # of what is left then: rounds are begun that this sees the end of
PATIENCE_S = 10.0  # for the last question to a worker, when the time is spent
QUERIES = 100


def compare_all(run: Run, job: Job, reference: Reference, groups: list[Group]) -> None:
    """Every group in its turn; then, with every matrix rate known, the shares."""
    for group in groups:
        run.schedule.attempt(group.name, group.share, partial(compare_group, run, job, reference, group))
    best = run.best()
    for row in run.rows.values():
        if not row.reason:
            add_rate(row, reference, best)


def compare_group(run: Run, job: Job, reference: Reference, group: Group, deadline: float) -> None:
    """Set the ways up, check each, then let them take turns; their processes end with the group."""
    crew = Crew()
    try:
        set_up(run, crew, job, reference, group, time.monotonic() + SET_UP * (deadline - time.monotonic()))
        for worker in crew.workers.values():
            give_until(worker, deadline)
        for way in group.ways:
            if way.ours and "preset" not in way.options and way.name in crew.workers:
                ask_queries(run, way.name, crew.workers[way.name])
        if crew.workers:
            turns(run, crew, group, deadline)
    finally:
        run.rows.update(crew.rows)
        crew.close()


def set_up(run: Run, crew: Crew, job: Job, reference: Reference, group: Group, deadline: float) -> None:
    """Start every way's process and compare it with the oracle; a way that disagrees never sees a clock."""
    for way in group.ways:
        run.say(f"setting up: {way.title}")
        if time.monotonic() >= deadline:
            crew.drop(way, "the time of its group was spent before it")
            continue
        before = run.used_mib()
        enlist(crew, way, job, reference, partial(TimedWorker, deadline=deadline))
        row, now = crew.rows[way.name], run.used_mib()
        row.reason = row.reason.replace(f"{Path(job.bundle('fp32')).parent}/", "")  # records name no folder of a machine
        if before is not None and now is not None and not row.reason:
            row.extra["device_mib"] = rounded(now - before)


def turns(run: Run, crew: Crew, group: Group, deadline: float) -> None:
    """Let the ways that are ready take turns, and put what they took into their rows."""
    if run.matrices is not None:
        give_until(run.matrices, deadline)
    asked = {name: asker(worker, "turn") for name, worker in crew.workers.items()}
    left = TURNS * (deadline - time.monotonic())
    taken = take_turns(asked, run.options.rounds, left, run.say, partial(between, run))
    run.rounds = max(run.rounds, taken.rounds)
    by_name = {way.name: way for way in group.ways}
    for name, reason in taken.failures.items():
        crew.drop(by_name[name], reason)
    for name, worker in crew.workers.items():
        give_until(worker, time.monotonic() + PATIENCE_S)
        row = crew.rows[name]
        add_turns(row, taken.turns[name])
        row.derived = False  # whole pictures were timed, not passes alone
        row.peak_mib, row.peak_whole = rounded(worker.peak_mib()), True


def between(run: Run) -> None:
    """After every round: how busy the machine is, how the card does, and how fast it multiplies just then."""
    run.busy.append(busy())
    if run.number is not None:
        run.states.append(card.state(run.number))
    if run.matrices is not None:
        try:
            run.rates.append(run.matrices.ask("rates"))
        except UnavailableError as error:
            run.say(f"matrices: {error}")


def give_until(worker: Worker, deadline: float) -> None:
    """Move a worker's deadline."""
    if isinstance(worker, TimedWorker):
        worker.deadline = deadline


def ask_queries(run: Run, name: str, worker: Worker) -> None:
    """What asking again costs: one query and a hundred, known words and new."""
    try:
        figures = worker.ask("queries", QUERIES)
    except UnavailableError as error:
        run.say(f"further queries by {name}: {error}")
        return
    run.queries[name] = {key: rounded(number) for key, number in figures.items()}
