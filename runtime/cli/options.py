"""The options of `locate`: their names, checks and help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeAlias, get_args

import typer

from engine.spec import SPECS, Geometry
from runtime.devices import DEVICES, parse
from runtime.errors import DeviceError
from runtime.precision import PRECISIONS
from runtime.presets import PRESETS

GEOMETRIES: tuple[str, ...] = get_args(Geometry)


def one_of(*choices: str) -> Callable[[str | None], str | None]:
    """A check that an option is one of the choices."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in choices:
            raise typer.BadParameter(f"`{value}` is none of {', '.join(choices)}")
        return value

    return check


def named(choices: tuple[str, ...]) -> typer.models.OptionInfo:
    """An option that takes one of several names."""
    option: typer.models.OptionInfo = typer.Option(
        metavar="NAME", callback=one_of(*choices), help=f"One of {', '.join(choices)}."
    )
    return option


def known_device(value: str) -> str:
    """A check that a device has a name that there is."""
    try:
        parse(value)
    except DeviceError as error:
        raise typer.BadParameter(str(error)) from None
    return value


def named_path(value: str) -> Path:
    """A path that is not empty: an empty one would mean the working folder, which nobody asked for."""
    if not value.strip():
        raise typer.BadParameter("it is empty; name a file or folder, or leave it out")
    return Path(value)


def named_file(value: str | None) -> str | None:
    """A file's name that is not empty."""
    return None if value is None else str(named_path(value))


Arguments: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="PICTURE|QUERY", help="Pictures first, then what to look for.")
]
Queries: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--query", "-q", metavar="TEXT", help="What to look for; all arguments are then pictures. May repeat."),
]
Model: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NAME|FOLDER", help="A bundle, by name or folder; else the one shipped.")
]
DeviceName: TypeAlias = Annotated[
    str,
    typer.Option(
        metavar="NAME", callback=known_device, help=f"One of {', '.join(DEVICES)}; `cuda:1` is the second card of several."
    ),
]
PresetName: TypeAlias = Annotated[str, named(PRESETS)]
Passes: TypeAlias = Annotated[
    str | None, typer.Option(metavar="NUMBER|auto", help="fast: maps run before the query is known; auto: until sure.")
]
Refine: TypeAlias = Annotated[int | None, typer.Option(metavar="NUMBER", help="fast: further maps run for every query.", min=0)]
PrecisionName: TypeAlias = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        callback=one_of(*PRECISIONS),
        help="bf16 or tf32 runs the passes of an fp32 bundle so, by OpenVINO or on a card; else as built.",
    ),
]
SpecName: TypeAlias = Annotated[str, named(tuple(SPECS))]
GeometryName: TypeAlias = Annotated[str | None, named(GEOMETRIES)]
Threshold: TypeAlias = Annotated[
    float | None, typer.Option(metavar="NUMBER", help="Cut boxes at this fraction of the peak, from 0 to 1.")
]
Temperature: TypeAlias = Annotated[
    float | None, typer.Option(metavar="NUMBER", help="The higher, the more maps share in the answer.")
]
Templates: TypeAlias = Annotated[
    str, typer.Option(metavar="NAME|TEXT", help="plain, paper, imagenet, or a sentence with {} in it.")
]
Threads: TypeAlias = Annotated[
    int | None, typer.Option(metavar="NUMBER", help="Threads; else as many as this process may use.", min=1)
]
Out: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE|FOLDER", parser=named_path, help="Draw into this file, or into a folder as NAME.boxes.png."),
]
NoHeat: TypeAlias = Annotated[bool, typer.Option("--no-heat", help="Draw the boxes without the heat map.")]
Json: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="FILE|-", callback=named_file, help="Write the answers as JSON; - is stdout, and nothing else."
    ),
]
SaveScenes: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER", parser=named_path, help="Keep the encoded pictures as NAME.scene.npz, to ask them again at once."
    ),
]
Recursive: TypeAlias = Annotated[bool, typer.Option("--recursive", help="Look into the folders of folders.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", help="Print nothing but warnings and errors.")]
FailIfAbsent: TypeAlias = Annotated[
    bool, typer.Option("--fail-if-absent", help="Exit with 3 when a query has no box in some picture.")
]
