"""The options of `locate`: their names, checks and help."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeAlias, get_args

import typer

from engine.methods import METHODS
from engine.spec import SPECS, Geometry
from runtime.cli.suggest import near
from runtime.devices import DEVICES, parse
from runtime.errors import DeviceError
from runtime.precision import PRECISIONS
from runtime.presets import PRESETS

GEOMETRIES: tuple[str, ...] = get_args(Geometry)
LABELS = ("coco", "cvat", "label-studio", "voc", "yolo")  # as runtime.interop.KINDS, which would load numpy here

LOOK, MODEL, METHOD, FILES, SHOW = "What to look at", "What runs", "The method", "What is written", "What is shown"


def one_of(*choices: str) -> Callable[[str | None], str | None]:
    """A check that an option is one of the choices."""

    def check(value: str | None) -> str | None:
        if value is not None and value not in choices:
            raise typer.BadParameter(f"`{value}` is none of {', '.join(choices)}{near(value, choices)}")
        return value

    return check


def named(choices: tuple[str, ...], panel: str) -> typer.models.OptionInfo:
    """An option that takes one of several names, which the shell completes."""
    option: typer.models.OptionInfo = typer.Option(
        metavar="NAME",
        callback=one_of(*choices),
        help=f"One of {', '.join(choices)}.",
        autocompletion=lambda: list(choices),
        rich_help_panel=panel,
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


def some_seconds(value: float) -> float:
    """A check that a time is one to wait for."""
    if not 0.001 <= value <= 1e6:
        raise typer.BadParameter(f"it is {value:g}; seconds from 0.001 to 1e6 are needed")
    return value


def labels_to(value: str) -> tuple[str, Path]:
    """A check that `--labels` names a format and a place."""
    kind, _, place = value.partition("=")
    if kind not in LABELS or not place.strip():
        raise typer.BadParameter(
            f"`{value}` must be FORMAT=PATH, such as coco=labels.json; formats are {', '.join(LABELS)}{near(kind, LABELS)}"
        )
    return kind, Path(place)


def installed_models() -> list[str]:
    """Names of bundles that are here, for the shell to complete."""
    from runtime.bundles import installed

    return installed()


def option(panel: str, *names: str, **about: Any) -> Any:  # noqa: ANN401 - as typer has it
    """An option in a panel of the help."""
    return typer.Option(*names, rich_help_panel=panel, **about)


Arguments: TypeAlias = Annotated[
    list[str], typer.Argument(metavar="PICTURE|QUERY", help="Pictures first, then what to look for.", show_default=False)
]
Queries: TypeAlias = Annotated[
    list[str] | None,
    option(LOOK, "--query", "-q", metavar="TEXT", help="What to look for; all arguments are then pictures. May repeat."),
]
Recursive: TypeAlias = Annotated[bool, option(LOOK, "--recursive", help="Look into the folders of folders.")]
Every: TypeAlias = Annotated[
    float, option(LOOK, "--every", metavar="SECONDS", callback=some_seconds, help="How far apart frames of a video are taken.")
]
Resume: TypeAlias = Annotated[
    bool, option(LOOK, "--resume", help="Go on with the --jsonl file: leave out pictures that it answers already.")
]

Model: TypeAlias = Annotated[
    str | None,
    option(
        MODEL, metavar="NAME|FOLDER", help="A bundle, by name or folder; else the one shipped.", autocompletion=installed_models
    ),
]
DeviceName: TypeAlias = Annotated[
    str,
    option(
        MODEL,
        metavar="NAME",
        callback=known_device,
        help=f"One of {', '.join(DEVICES)}; `cuda:1` is the second card of several.",
        autocompletion=lambda: list(DEVICES),
    ),
]
PrecisionName: TypeAlias = Annotated[
    str | None,
    option(
        MODEL,
        metavar="NAME",
        callback=one_of(*PRECISIONS),
        help="bf16 or tf32 runs the passes of an fp32 bundle so, by OpenVINO or on a card; else as built.",
    ),
]
Threads: TypeAlias = Annotated[
    int | None, option(MODEL, metavar="NUMBER", help="Threads; else as many as this process may use.", min=1)
]
PresetName: TypeAlias = Annotated[str, named(PRESETS, MODEL)]
Passes: TypeAlias = Annotated[
    str | None, option(MODEL, metavar="NUMBER|auto", help="fast: maps run before the query is known; auto: until sure.")
]
Refine: TypeAlias = Annotated[int | None, option(MODEL, metavar="NUMBER", help="fast: further maps run for every query.", min=0)]

MethodName: TypeAlias = Annotated[
    str,
    option(
        METHOD,
        "--method",
        metavar="NAME",
        callback=one_of(*METHODS),
        help="vl-score, or one that the model was built with, such as naclip.",
        autocompletion=lambda: list(METHODS),
    ),
]
Background: TypeAlias = Annotated[
    list[str] | None,
    option(METHOD, metavar="WORD", help="A noun that competes with what is asked; else the usual ones. May repeat."),
]
Windows: TypeAlias = Annotated[
    int, option(METHOD, metavar="PIXELS", help="Look at the picture piece by piece, its shorter side brought to so many pixels.")
]
Affinity: TypeAlias = Annotated[
    bool, option(METHOD, "--affinity", help="Transformers: spread maps to patches that belong together, for a pass more.")
]
SpecName: TypeAlias = Annotated[str, named(tuple(SPECS), METHOD)]
GeometryName: TypeAlias = Annotated[str | None, named(GEOMETRIES, METHOD)]
Threshold: TypeAlias = Annotated[
    float | None, option(METHOD, metavar="NUMBER", help="Cut boxes at this fraction of the peak, from 0 to 1.")
]
Temperature: TypeAlias = Annotated[
    float | None, option(METHOD, metavar="NUMBER", help="The higher, the more maps share in the answer.")
]
Switches: TypeAlias = Annotated[
    list[str] | None,
    option(METHOD, "--set", metavar="NAME=VALUE", help="Any other switch of the spec, such as dilate=0.02. May repeat."),
]
Templates: TypeAlias = Annotated[
    str | None,
    option(METHOD, metavar="NAME|TEXT", help="plain, paper, imagenet, or a sentence with {} in it; else the method's own."),
]

Out: TypeAlias = Annotated[
    Path | None,
    option(FILES, metavar="FILE|FOLDER", parser=named_path, help="Draw into this file, or into a folder as NAME.boxes.png."),
]
NoHeat: TypeAlias = Annotated[bool, option(FILES, "--no-heat", help="Draw without the heat map.")]
Masks: TypeAlias = Annotated[bool, option(FILES, "--masks", help="Draw the pixels behind the boxes.")]
Crops: TypeAlias = Annotated[
    Path | None,
    option(FILES, metavar="FOLDER", parser=named_path, help="Cut every box out, as NAME.QUERY.1.jpg."),
]
Json: TypeAlias = Annotated[
    str | None,
    option(
        FILES,
        "--json",
        metavar="FILE|-",
        callback=named_file,
        help="All answers as one JSON; - is stdout, and it alone.",
    ),
]
JsonLines: TypeAlias = Annotated[
    str | None,
    option(
        FILES, "--jsonl", metavar="FILE|-", callback=named_file, help="A line of JSON per picture, as soon as it is answered."
    ),
]
Csv: TypeAlias = Annotated[
    str | None, option(FILES, "--csv", metavar="FILE|-", callback=named_file, help="A line per box, for spreadsheets.")
]
Labels: TypeAlias = Annotated[
    list[str] | None,
    option(FILES, "--labels", metavar="FORMAT=PATH", help=f"For labelling tools: {', '.join(LABELS)}. May repeat."),
]
SaveScenes: TypeAlias = Annotated[
    Path | None,
    option(
        FILES,
        metavar="FOLDER",
        parser=named_path,
        help="Keep the encoded pictures as NAME.scene.npz, to ask them again at once.",
    ),
]

Quiet: TypeAlias = Annotated[bool, option(SHOW, "--quiet", help="Print nothing but warnings and errors.")]
Verbose: TypeAlias = Annotated[
    int,
    option(SHOW, "--verbose", "-v", count=True, show_default=False, help="A table per picture, and a log; -vv says more."),
]
FailIfAbsent: TypeAlias = Annotated[
    bool, option(SHOW, "--fail-if-absent", help="Exit with 3 when a query has no box in some picture.")
]
