"""One comparison from start to end: reference, set-up, rounds, whole pictures, further queries, cold starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.compare.cold import cold
from bench.compare.job import Job, Reference, UnavailableError, Whole
from bench.compare.machine import Matrices, busy, describe
from bench.compare.options import Options
from bench.compare.rounds import Say, Taken, TakeTurn, take_turns
from bench.compare.rows import Row, add_rate, add_turns, add_whole, quartiles, refused, rounded, started
from bench.compare.ways import Way, make_oracle
from bench.compare.workers import Make, Worker

SCHEMA = 1
Hire = Callable[[Make, tuple[object, ...], int], Worker]
ASKED = ("exact", "exact-openvino", "exact-bf16")  # whose further queries are timed


@dataclass
class Crew:
    """The ways that are ready, each in its process, and the rows of all."""

    workers: dict[str, Worker] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)

    def drop(self, way: Way, reason: str) -> None:
        """Send a way home and say why."""
        self.rows[way.name] = refused(way, reason)
        if way.name in self.workers:
            self.workers.pop(way.name).close()

    def close(self) -> None:
        """Send everybody home."""
        for worker in self.workers.values():
            worker.close()
        self.workers.clear()


@dataclass(frozen=True)
class Seen:
    """What the rounds gave, and how the machine was after each of them."""

    taken: Taken
    rates: list[dict[str, float]]  # GFLOP/s of matrix products
    others: list[float]  # the share of the machine that other work took while every way waited


def measure(options: Options, job: Job, ways: Sequence[Way], say: Say) -> dict[str, Any]:
    """Run the comparison and give its record."""
    say("asking the oracle")
    reference = find_reference(job)
    crew = Crew()
    by_name = {way.name: way for way in ways}
    try:
        for way in ways:
            say(f"setting up: {way.title}")
            enlist(crew, way, job, reference)
        seen = take_rounds(crew, by_name, options, job, say)
        best = {kind: rounded(max(rate[kind] for rate in seen.rates)) for kind in seen.rates[0]}
        for name, worker in crew.workers.items():
            add_turns(crew.rows[name], seen.taken.turns[name])
            add_rate(crew.rows[name], reference, best)
            crew.rows[name].peak_mib = rounded(worker.peak_mib())
        able = [by_name[name] for name in ASKED if name in crew.workers]
        if options.whole:
            whole_pictures(crew, by_name, reference, say)
    finally:
        crew.close()
    queries = further_queries(able, (job, reference), options.queries, say) if options.queries else {}
    if options.cold:
        say("fresh interpreters")
    return {
        "schema": SCHEMA,
        "machine": {**describe(job.threads), "busy": round(max(seen.others), 3)},
        "job": about(job, reference, seen.taken.rounds),
        "matrix_gflops": {kind: quartiles([rate[kind] for rate in seen.rates]) for kind in best},
        "matrix_best_gflops": best,
        "ways": [crew.rows[way.name].to_dict() for way in ways],
        "queries": queries,
        "cold": cold(job, say) if options.cold else {},
    }


def take_rounds(crew: Crew, ways: dict[str, Way], options: Options, job: Job, say: Say) -> Seen:
    """Let everybody take turns; after each round look at the machine itself. A way that failed is sent home."""
    rates: list[dict[str, float]] = []
    others: list[float] = []
    with hired(Worker(Matrices, (job,), job.threads)) as matrices:
        turns = {name: asker(worker, "turn") for name, worker in crew.workers.items()}

        def each() -> None:
            others.append(busy())
            rates.append(matrices.ask("rates"))

        taken = take_turns(turns, options.rounds, options.budget, say, each)
    for name, reason in taken.failures.items():
        crew.drop(ways[name], reason)
    return Seen(taken, rates, others)


def find_reference(job: Job) -> Reference:
    """Have the oracle make the reference, in a process that ends with it."""
    with hired(Worker(make_oracle, (job,), job.threads)) as oracle:
        found: Reference = oracle.ask("reference")
        return found


def enlist(crew: Crew, way: Way, job: Job, reference: Reference, hire: Hire = Worker) -> None:
    """Set a way up and check what it computes; what cannot be used becomes a row with its reason."""
    worker = crew.workers[way.name] = hire(way.prepare, (job, reference), job.threads)
    try:
        worker.ready()
        agreement = worker.ask("check")
        if not way.accepts(agreement):
            size = f"by {agreement.deviation:.3g} of their size, {agreement.error:.2g} in cosines"
            raise UnavailableError(f"its scores disagree with the oracle's {size}: more than {way.precision} explains")
        crew.rows[way.name] = started(way, worker.ask("facts"), agreement)
    except UnavailableError as error:
        crew.drop(way, str(error))


def whole_pictures(crew: Crew, ways: dict[str, Way], reference: Reference, say: Say) -> None:
    """One picture from end to end by each way; its process ends after it, so that memory is there for the next."""
    published: Whole | None = None
    for name in list(crew.workers):
        say(f"a whole picture: {name}")
        row, worker = crew.rows[name], crew.workers.pop(name)
        try:
            found: Whole = worker.ask("whole")
            published = found if name == "published" else published
            add_whole(row, found, published, reference)
            row.peak_mib, row.peak_whole = rounded(worker.peak_mib()), True
        except UnavailableError as error:
            crew.rows[name] = refused(ways[name], str(error))
        finally:
            worker.close()


def further_queries(ways: Sequence[Way], given: tuple[Job, Reference], several: int, say: Say) -> dict[str, dict[str, float]]:
    """What asking again costs, by way: each in a process of its own, with the switches of whoever changes none."""
    job, reference = given
    found = {}
    for way in ways:
        say(f"further queries: {way.name}")
        try:
            with hired(Worker(way.prepare, (replace(job, spec="default"), reference), job.threads)) as worker:
                figures = worker.ask("queries", several)
            found[way.name] = {key: rounded(value) for key, value in figures.items()}
        except UnavailableError as error:
            say(f"further queries by {way.name}: not run: {error}")
    return found


def about(job: Job, reference: Reference, rounds: int) -> dict[str, Any]:
    """The job by names that mean the same on every machine, and its size."""
    return {
        "backbone": job.backbone,
        "pretrained": Path(job.pretrained).name,
        "picture": Path(job.picture).name,
        "query": job.query,
        "spec": job.spec,
        "threads": job.threads,
        "batch": job.batch,
        "passes": job.passes,
        "rounds": rounds,
        "maps": len(reference.maps),
        "live_maps": reference.needed,
        "gflop_per_pass": rounded(reference.flops / 1e9),
    }


def asker(worker: Worker, name: str) -> TakeTurn:
    """A question without arguments, ready to be put again and again."""
    return lambda: worker.ask(name)


@contextmanager
def hired(worker: Worker) -> Iterator[Worker]:
    """A worker for a while."""
    try:
        worker.ready()
        yield worker
    finally:
        worker.close()
