"""What the options of `locate` come to together, and what they cannot."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import typer

from engine.methods import METHODS
from engine.spec import Spec, named_spec
from runtime.cli.inputs import Source, is_scene
from runtime.cli.outputs import STDOUT, Wanted
from runtime.cli.suggest import near


def named_default(spec: str, method: str) -> Spec:
    """A spec by name; the default one is the method's own."""
    return METHODS[method].spec if spec == "default" else named_spec(spec)


def changed(spec: Spec, given: dict[str, object], others: Sequence[str]) -> Spec:
    """The spec with what the options change: some have an option of their own, `others` are `NAME=VALUE`."""
    try:
        known = {field: value for field, value in given.items() if value is not None}
        if "threshold" in known and spec.cut == "otsu":  # which would take no notice of it
            known["cut"] = "peak"
        return spec.replace(**known, **dict(switch(spec, text) for text in others))
    except (ValueError, TypeError) as error:
        raise typer.BadParameter(str(error)) from None


def switch(spec: Spec, text: str) -> tuple[str, object]:
    """A switch and its value: a number where it looks like one, else a word."""
    name, equals, value = text.partition("=")
    if not equals or name not in spec.to_dict():
        raise ValueError(f"`{text}` must be NAME=VALUE with a switch of the spec{near(name, spec.to_dict())}")
    if value.isascii() and value.isdecimal() and len(value) < 10:
        return name, int(value)
    with contextlib.suppress(ValueError):
        return name, float(value)
    return name, value


def refuse_resuming(wanted: Wanted) -> None:
    """Only lines of JSON can be gone on with; the other lists would hold what is new and nothing else."""
    others = [option for option, _ in wanted.whole() if option != "--jsonl"] + ["--labels" for _ in wanted.labels]
    if wanted.lines in (None, STDOUT) or others:
        what = f"; leave out {others[0]}" if others else ""
        raise typer.BadParameter(f"it goes on with the file of --jsonl: name one{what}", param_hint="--resume")


def refuse_new_geometry(sources: list[Source], geometry: str | None) -> None:
    """A saved scene was encoded with a geometry; asking cannot change it any more."""
    scene = next((source for source in sources if is_scene(source.name)), None)
    if scene is not None and geometry is not None:
        raise typer.BadParameter(f"the saved scene `{scene}` keeps its geometry; leave this out", param_hint="--geometry")
