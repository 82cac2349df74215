"""How a command ends when it cannot do what was asked: one `error:` line, an exit code, never a traceback."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from typing import TextIO

import typer

from runtime.errors import VlscoreError

REFUSED = 1
USAGE = 2
ABSENT = 3
INTERRUPTED = 130


def say_error(message: object) -> None:
    """Write an error to stderr."""
    typer.secho(f"error: {message}", err=True, fg="red")


def say_warning(message: object) -> None:
    """Write a warning to stderr."""
    typer.secho(f"warning: {message}", err=True, fg="yellow")


def describe(error: Exception) -> str:
    """An error in one sentence; what is none of ours is named by its kind."""
    if isinstance(error, VlscoreError):
        return str(error)
    if isinstance(error, MemoryError):
        return f"this machine has no memory left for it ({error or 'MemoryError'}); shrink the picture, or close other programs"
    if isinstance(error, OSError) and error.filename:
        return f"`{error.filename}` cannot be used: {error.strerror}"
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def told_errors() -> Iterator[None]:
    """Turn what the runtime and the system refuse into an `error:` line and exit code 1, and Ctrl-C into 130."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            yield
    except BrokenPipeError:
        raise  # whoever read our output has left: there is nobody to tell
    except VlscoreError as error:
        say_error(error)
        raise typer.Exit(REFUSED) from None
    except OSError as error:
        say_error(f"`{error.filename}` cannot be used: {error.strerror}" if error.filename else error)
        raise typer.Exit(REFUSED) from None
    except MemoryError:
        say_error("the machine has no memory left for this; close other programs, or take a smaller model or picture")
        raise typer.Exit(REFUSED) from None
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(INTERRUPTED) from None


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Show our own warnings as one plain line, without the place in the source that raised them."""
    if category.__module__.startswith("runtime."):
        say_warning(message)
    else:
        (file or sys.stderr).write(warnings.formatwarning(message, category, filename, lineno, line))
