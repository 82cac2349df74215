"""Defaults of one's own for the options, from a file: a table per command, with the long names of options.

[locate]
model = "RN50"
threshold = 0.4
quiet = true
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import typer

from runtime.cli.suggest import near

VARIABLE = "VLSCORE_CONFIG"
NAME = "config.toml"
PLAIN = (str, int, float, bool)


def config_path() -> Path:
    """Where the file is looked for, unless `--config` or VLSCORE_CONFIG names another."""
    from platformdirs import user_config_path

    return user_config_path("vlscore") / NAME


def load_defaults(context: typer.Context, given: Path | None) -> None:
    """Read the file, if there is one, and let the commands take their defaults from it."""
    named = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    path = named or config_path()
    if named is None and not path.is_file():
        return
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        refuse(f"`{path}` cannot be read: {error.strerror}")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        refuse(f"`{path}` is no TOML: {error}")
    context.default_map = {command: checked(context, path, command, table) for command, table in tables.items()}


def checked(context: typer.Context, path: Path, command: str, table: object) -> dict[str, Any]:
    """The defaults of one command; a name that it does not know is refused, for it would change nothing."""
    commands: Mapping[str, Any] = getattr(context.command, "commands", {})
    if command not in commands or not isinstance(table, Mapping):
        refuse(f"`{path}` has a table `{command}`, which is no command{near(command, commands)}")
    options = {name.lstrip("-"): option.name for option in commands[command].params for name in option.opts if "--" in name}
    found = {}
    for name, value in table.items():
        if name not in options:
            refuse(f"`{path}` sets `{command}.{name}`, which is no option{near(name, options)}")
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(one, PLAIN) for one in values):
            refuse(f"`{path}`: `{command}.{name}` must be a plain value, or a list of them")
        found[options[name]] = value
    return found


def refuse(message: str) -> NoReturn:
    """A mistake in the file is wrong usage."""
    raise typer.BadParameter(message, param_hint="--config")
