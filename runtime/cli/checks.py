"""What the options of `locate` come to together, and what they cannot."""

from __future__ import annotations

import typer

from engine.methods import METHODS
from engine.spec import DEFAULT, Spec, named_spec
from runtime.cli.inputs import Source, is_scene
from runtime.cli.outputs import STDOUT, Wanted


def named_default(spec: str, method: str) -> Spec:
    """A spec by name; the default one has the threshold that suits the method."""
    row = METHODS[method]
    return DEFAULT.replace(threshold=row.threshold) if spec == "default" and row.family != "masked" else named_spec(spec)


def changed(spec: Spec, threshold: float | None, temperature: float | None, geometry: str | None) -> Spec:
    """The spec with what the options change."""
    given = {"threshold": threshold, "temperature": temperature, "geometry": geometry}
    try:
        return spec.replace(**{field: value for field, value in given.items() if value is not None})
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


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
