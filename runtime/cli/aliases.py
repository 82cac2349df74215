"""`vlscore build`, `bench`, `eval`: commands of the other rooms, run as modules of their own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import typer

from runtime.cli.errors import REFUSED, say_error

SOURCE = "it comes with the source code: clone the repository, and run this in it"


class Alias(NamedTuple):
    """A module, a package that it cannot do without, and how to get both."""

    module: str
    needs: str
    get: str
    help: str


EXPORT = "pip install 'vlscore[cpu,export]'"
ALIASES = {
    "build": Alias("export.build", "torch", EXPORT, "Build a model from open_clip's weights, with PyTorch (export.build)."),
    "bench": Alias("bench.compare", "threadpoolctl", SOURCE, "Time this beside PyTorch and other packages (bench.compare)."),
    "eval": Alias("bench.evaluate", "scipy", SOURCE, "Measure how well things are found (bench.evaluate)."),
}


def run_alias(name: str, arguments: list[str]) -> int:
    """Run a module with the arguments as they are; gives its exit code, or 1 where it is not installed."""
    alias = ALIASES[name]
    missing = next((part for part in (alias.module.partition(".")[0], alias.needs) if not importlib.util.find_spec(part)), None)
    if missing:
        say_error(f"`vlscore {name}` runs `python -m {alias.module}`, and `{missing}` is not installed: {alias.get}")
        return REFUSED
    return subprocess.run([sys.executable, "-m", alias.module, *arguments], check=False).returncode


def add_aliases(app: typer.Typer) -> None:
    """Add a command for each, which takes whatever its module takes, `--help` included."""
    anything = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
    for name, alias in ALIASES.items():
        app.command(name, help=alias.help, rich_help_panel="From other rooms", context_settings=anything)(runner(name))


def runner(name: str) -> Callable[[typer.Context], None]:
    """The function behind one command."""

    def command(context: typer.Context) -> None:
        raise typer.Exit(run_alias(name, context.args))

    return command
