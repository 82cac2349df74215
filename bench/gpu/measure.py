"""One run from start to end: every part is tried in its share of the time, and what cannot be had says why."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any

from bench.compare.job import Job, Reference, UnavailableError
from bench.compare.machine import describe as describe_machine
from bench.compare.measure import about, hired
from bench.compare.rounds import Say
from bench.compare.rows import refused
from bench.compare.ways import Way, make_oracle
from bench.gpu import bundles, card, starts
from bench.gpu.faith import Faithful
from bench.gpu.groups import compare_all
from bench.gpu.matrices import CardMatrices
from bench.gpu.options import Options
from bench.gpu.run import Run
from bench.gpu.targets import verdicts
from bench.gpu.timed import Schedule, TimedWorker
from bench.gpu.ways import Group, chosen

SCHEMA = 1
SHARES = {"machine": 0.05, "bundles": 0.20, "oracle": 0.05, "faithful": 0.09, "cold": 0.09}  # the groups have the rest
NO_CARD = "there is no NVIDIA card that answers"


def measure(options: Options, threads: int, say: Say) -> dict[str, Any]:
    """Run everything and give the record."""
    run = Run(options, threads, say, Schedule(options.budget))
    try:
        return to_record(run, *measure_parts(run))
    finally:
        if run.matrices is not None:
            run.matrices.close()


def measure_parts(run: Run) -> tuple[Job, Reference | None, list[Group]]:
    """Every part in its order."""
    options = run.options
    run.card = run.schedule.attempt("machine", SHARES["machine"], partial(look, run)) or {}
    memory = run.card.get("memory_mib")
    batch = options.batch or bundles.batch_for(memory if isinstance(memory, float) else None)
    job = options.job(run.threads, bundles.place(options, batch), batch)
    groups = chosen(options.ways, options.device)
    reference: Reference | None = None
    if run.card:
        reference = prepare(run, job, batch)
    else:
        for name in ("bundles", "oracle"):
            run.schedule.note(name, "skipped", NO_CARD, 0.0)
    if reference is not None:
        compare_all(run, job, reference, groups)
        follow(run, job, groups)
    for way in (way for group in groups for way in group.ways):
        run.rows.setdefault(way.name, refused(way, "not tried" if run.card else NO_CARD))
    return job, reference, groups


def prepare(run: Run, job: Job, batch: int) -> Reference | None:
    """Build what is lacking, and ask the oracle; without its answers nothing can be checked, so nothing is timed."""
    if not run.options.model:
        run.say("building the bundles, or finding them built")
        run.built = run.schedule.attempt("bundles", SHARES["bundles"], partial(bundles.build, run.options, batch)) or {}
    run.say("asking the oracle")
    found: Reference | None = run.schedule.attempt("oracle", SHARES["oracle"], partial(find_reference, job))
    return found


def look(run: Run, deadline: float) -> dict[str, Any]:
    """Look at the card by its driver's tool and by PyTorch; either may be missing, both is no card."""
    run.say("looking at the card")
    found, silent = {"name": "none, on the processor"}, ""
    if run.number is not None:
        try:
            found = card.describe(run.number)
        except UnavailableError as error:
            found, silent = {}, str(error)
    worker = TimedWorker(CardMatrices, (run.options.device,), run.threads, deadline)
    try:
        worker.ready()
        told = worker.ask("about")
    except UnavailableError as error:
        worker.close()
        if silent:
            raise UnavailableError(f"{silent}; PyTorch: {error}") from None
        return {**found, "torch": f"not usable: {error}"}
    run.matrices = worker  # it stays, and is asked after every round
    return {"name": told.get("torch_card"), **told, **found, **({"driver_tool": silent} if silent else {})}


def find_reference(job: Job, deadline: float) -> Reference:
    """Have the oracle make the reference, in a process that ends with it."""
    with hired(TimedWorker(make_oracle, (job,), job.threads, deadline)) as oracle:
        found: Reference = oracle.ask("reference")
        return found


def follow(run: Run, job: Job, groups: list[Group]) -> None:
    """What follows the rounds: the shipped model in full, and fresh interpreters, once per device that worked."""
    first: dict[str, Way] = {}
    for way in (way for group in groups for way in group.ways):
        if way.ours and way.name in run.rows and not run.rows[way.name].reason:
            first.setdefault(way.options["device"], way)
    if run.options.faithful:
        run.say("the shipped model against the oracle")
        run.faithful = run.schedule.attempt("faithful", SHARES["faithful"], partial(faithful, run, list(first))) or {}
    run.say("fresh interpreters")

    def cold(deadline: float) -> dict[str, Any]:
        return {way.name: starts.cold(way, job, deadline) for way in first.values()}

    run.cold = run.schedule.attempt("cold", SHARES["cold"], cold) or {}


def faithful(run: Run, devices: list[str], deadline: float) -> dict[str, Any]:
    """The shipped model on these devices against the oracle."""
    found: dict[str, Any] = {}
    if not devices:
        return found
    with hired(TimedWorker(Faithful, (run.options.faithful, run.threads), run.threads, deadline)) as worker:
        for device in devices:
            try:
                found[device] = worker.ask("on", device)
            except UnavailableError as error:
                found[device] = {"reason": str(error)}
    return found


def to_record(run: Run, job: Job, reference: Reference | None, groups: list[Group]) -> dict[str, Any]:
    """Everything as plain values, with the targets judged."""
    known = {"batch": job.batch, "spec": job.spec, "rounds": run.rounds}
    record = {
        "schema": SCHEMA,
        "kind": "gpu",
        "machine": {**describe_machine(run.threads), "busy": round(max(run.busy, default=0.0), 3)},
        "card": run.card,
        "versions": card.versions(),
        "job": {
            **(known if reference is None else about(job, reference, run.rounds)),
            "backbone": name_of(job.backbone),
            "device": run.options.device,
        },
        "bundles": run.built,
        "parts": run.schedule.to_list(),
        "seconds": round(time.monotonic() - run.schedule.began, 1),
        "matrix_gflops": run.spread(),
        "matrix_best_gflops": run.best(),
        "states": run.states,
        "ways": [run.rows[way.name].to_dict() for group in groups for way in group.ways],
        "queries": run.queries,
        "faithful": run.faithful,
        "cold": run.cold,
    }
    return {**record, "targets": verdicts(record)}


def name_of(backbone: str) -> str:
    """A backbone's name; of a configuration file, the file's: records name no folder of a machine."""
    return Path(backbone).stem if backbone.endswith(".json") else backbone
