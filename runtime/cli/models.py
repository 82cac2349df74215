"""`vlscore pull` and `vlscore models`."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, cast

import typer
from rich.console import Console
from rich.table import Table

from runtime.bundles import installed
from runtime.errors import WeightsError
from runtime.filling.catalogue import Activation, Entry, catalogue
from runtime.filling.pull import pull

ACTIVATIONS = ("gelu", "quickgelu")


def run_pull(
    name: str,
    origin: str | None,
    activation: str | None,
    precision: str,
    out: Path | None,
    force: bool,
    untrained: bool,
    methods: str | None,
) -> None:
    """Make a bundle, and print the next line to type."""
    if activation not in (None, *ACTIVATIONS):
        raise WeightsError(f"`--activation {activation}` is none of {', '.join(ACTIVATIONS)}")
    chosen = cast("Activation | None", activation)
    say = partial(typer.echo, err=True)
    wanted: dict[str, Any] = {"activation": chosen, "precision": precision, "methods": methods}
    made = pull(name, origin, **wanted, out=out, force=force, untrained=untrained, say=say)
    model = made if out else made.name
    typer.echo(f'ready: vlscore locate street.jpg "a red bus" --model {model}')


def run_models(json: bool) -> None:
    """List what can be had, and what of it is here."""
    here = set(installed())
    if json:
        typer.echo(json_text.dumps([{**asdict(entry), "here": entry.name in here} for entry in catalogue()], indent=1))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("model", "MB", "licence", "here"):
        table.add_column(title, justify="right" if title == "MB" else "left", no_wrap=title == "model")
    for entry in catalogue():
        table.add_row(*row(entry, entry.name in here))
    console = Console()
    console.print(table)
    others = sorted(here - {entry.name for entry in catalogue()})
    console.print(f"\nalso here: {', '.join(others) or 'nothing'}", highlight=False)
    console.print("get one: `vlscore pull MODEL`; from a file you have: `vlscore pull MODEL --from FILE`", highlight=False)


def row(entry: Entry, here: bool) -> tuple[str, ...]:
    """A model's line."""
    return entry.name, str(entry.megabytes), entry.licence, "yes" if here else ""
