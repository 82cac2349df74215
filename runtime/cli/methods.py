"""`vlscore methods`: the methods of localization, and which of them a model can be asked by."""

from __future__ import annotations

import json as json_text

import typer
from rich.console import Console

from engine.manifest import Manifest
from engine.methods import METHODS, Method
from runtime.bundles import open_bundle
from runtime.cli.tables import new_table
from runtime.filling.methods import how_to_add
from runtime.filling.on_demand import find_or_pull

COSTS = {
    "masked": "a pass per map",
    "dense": "one pass",
    "prompted": "one pass, and a part of one per question",
    "refinement": "one pass more: with --affinity",
}


def run_methods(model: str | None, json: bool) -> None:
    """List the methods, and how each stands with a model."""
    bundle = open_bundle(find_or_pull(model, download=False))
    states = {name: state(row, bundle.manifest) for name, row in METHODS.items()}
    if json:
        told = [
            {"method": name, "paper": row.paper, "family": row.family, "towers": row.towers, "state": states[name]}
            for name, row in METHODS.items()
        ]
        typer.echo(json_text.dumps(told, indent=1, ensure_ascii=False))
        return
    table = new_table()
    for title in ("method", "published", f"with {bundle.folder.name}", "costs"):
        table.add_column(title, no_wrap=title != "costs")
    for name, row in METHODS.items():
        if states[name] != "undefined":
            table.add_row(name, row.paper, states[name], COSTS[row.family], style=None if states[name] == "ready" else "dim")
    Console().print(table)
    undefined = [name for name, each in states.items() if each == "undefined"]
    if undefined:
        typer.echo(f"not defined for its kind of image encoder: {', '.join(undefined)}")
    if "not added" in states.values():
        typer.echo(f"add what is not there: {how_to_add(bundle.folder, bundle.manifest, 'all')}")
    typer.echo("take one: `vlscore locate PICTURE QUERY --method NAME`; which for which job: docs/methods.md")


def state(row: Method, manifest: Manifest) -> str:
    """How a method stands with a model."""
    if not row.on(manifest.tower):
        return "undefined"
    return "ready" if set(row.needs) <= set(manifest.methods) else "not added"
