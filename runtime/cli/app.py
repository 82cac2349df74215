"""The command line's commands. What they do is imported when they run, so that help comes at once."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from runtime import __version__
from runtime.cli import options
from runtime.cli.aliases import add_aliases
from runtime.cli.checks import changed, named_default, refuse_new_geometry, refuse_resuming
from runtime.cli.commands import Commands
from runtime.cli.config import load_defaults
from runtime.cli.errors import INTERRUPTED, told_errors
from runtime.cli.inputs import expand, split
from runtime.cli.logs import show_log
from runtime.cli.outputs import Wanted, plan

LOCATE_HELP = """Say where pictures show what words name.

Pictures come first, then what to look for. A picture may be a file, a folder, a pattern such as 'photos/*.jpg', a video, \
whose frames are sampled, or a saved scene (NAME.scene.npz), which is answered at once. A picture that cannot be read does \
not stop the others.

\b
Examples:
  vlscore locate street.jpg "a red bus" "a bicycle" --out found.png
  vlscore locate photos/ "a dog" --csv dogs.csv --crops dogs/
  vlscore locate photos/ "a dog" --jsonl dogs.jsonl --resume
  vlscore locate film.mp4 "a dog" --every 2 --jsonl - | jq .picture
  vlscore locate photos/ "a dog" "a cat" --labels coco=labels.json
"""
EXITS = (
    "Exit codes: 0 done, found or not; 1 something was refused; 2 wrong usage; 3 with --fail-if-absent, a query without a "
    "box; 130 interrupted."
)

app = typer.Typer(
    cls=Commands,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog=EXITS,
)


def show_version(asked: bool) -> None:
    """Print the version and leave."""
    if asked:
        typer.echo(f"vlscore {__version__}")
        raise typer.Exit


@app.callback()
def vlscore(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=show_version, help="Print the version.")] = False,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Defaults for options; else $VLSCORE_CONFIG, or config.toml of the user.")
    ] = None,
) -> None:
    """Ask a picture where something is, in plain words.

    \b
    Examples:
      vlscore locate street.jpg "a red bus" --out found.png
      vlscore models                    what can be had
      vlscore methods                   ways of finding things, and who published them
      vlscore doctor                    what this machine can run
    """
    load_defaults(context, config)


@app.command(help=LOCATE_HELP, epilog=EXITS, no_args_is_help=True)
def locate(
    *,
    arguments: options.Arguments,
    query: options.Queries = None,
    recursive: options.Recursive = False,
    every: options.Every = 1.0,
    resume: options.Resume = False,
    model: options.Model = None,
    device: options.DeviceName = "auto",
    precision: options.PrecisionName = None,
    threads: options.Threads = None,
    preset: options.PresetName = "exact",
    passes: options.Passes = None,
    refine: options.Refine = None,
    method: options.MethodName = "vl-score",
    background: options.Background = None,
    windows: options.Windows = 0,
    affinity: options.Affinity = False,
    spec: options.SpecName = "default",
    threshold: options.Threshold = None,
    temperature: options.Temperature = None,
    geometry: options.GeometryName = None,
    switches: options.Switches = None,
    templates: options.Templates = None,
    out: options.Out = None,
    no_heat: options.NoHeat = False,
    masks: options.Masks = False,
    crops: options.Crops = None,
    json: options.Json = None,
    jsonl: options.JsonLines = None,
    csv: options.Csv = None,
    labels: options.Labels = None,
    save_scenes: options.SaveScenes = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    fail_if_absent: options.FailIfAbsent = False,
) -> None:
    names, queries = split(arguments, query or [])
    chosen = changed(
        named_default(spec, method), {"threshold": threshold, "temperature": temperature, "geometry": geometry}, switches or ()
    )
    wanted = Wanted(out, save_scenes, crops, json, jsonl, csv, tuple(options.labels_to(one) for one in labels or ()))
    if resume:
        refuse_resuming(wanted)
    show_log(verbose)
    with told_errors():
        sources = expand(names, recursive, every)
        refuse_new_geometry(sources, geometry)
        targets = plan(sources, wanted)
        from runtime.cli.locate import Request, run

        opening = {
            "method": method,
            "device": device,
            "precision": precision,
            "threads": threads,
            "preset": preset,
            "passes": int(passes) if passes is not None and passes.isdecimal() and len(passes) < 10 else passes,
            "refine": refine,
            "spec": chosen,
            "templates": templates,
            "background": background,
            "windows": windows,
            "affinity": affinity,
        }
        request = Request(
            sources,
            queries,
            targets,
            model,
            opening,
            heat=not no_heat,
            masks=masks,
            quiet=quiet,
            verbose=verbose > 0,
            resume=resume,
            fail_if_absent=fail_if_absent,
        )
        raise typer.Exit(run(request))


@app.command(epilog=EXITS, no_args_is_help=True)
def classify(
    *,
    arguments: Annotated[
        list[str], typer.Argument(metavar="PICTURE|LABEL", help="Pictures first, then labels.", show_default=False)
    ],
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="FILE", help="Labels, a line each; commas divide synonyms.")
    ] = None,
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="How many of the best labels.")] = 5,
    boxes_by: Annotated[
        str | None, typer.Option("--boxes-by", metavar="MODEL", help="Find the best labels as well, by this model.")
    ] = None,
    model: options.Model = None,
    device: options.DeviceName = "auto",
    templates: options.Templates = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, a line for each picture.")] = False,
) -> None:
    """Say which of several labels suit a picture best, and by `--boxes-by` where they are.

    \b
    Examples:
      vlscore classify street.jpg "a bus" "a tram" "a bicycle"
      vlscore classify photos/ --labels imagenet.txt --top-k 1 --json
      vlscore classify bird.jpg --labels birds.txt --model ViT-B-16 --boxes-by RN50
    """
    with told_errors():
        from runtime import Localizer
        from runtime.cli.classify import run

        about: dict[str, Any] = {"device": device, "templates": templates}
        classifier = Localizer(model, **about)
        finder = None if boxes_by is None else Localizer(boxes_by, **about)
        raise typer.Exit(run(arguments, labels, top_k, classifier, finder, json))


@app.command()
def doctor(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    verify: Annotated[bool, typer.Option("--verify", help="Hash every file of every bundle.")] = False,
) -> None:
    """Say what this machine can run, why not, and what repairs it.

    Exit code 0 when some device can be used, else 1.

    \b
    Example:
      vlscore doctor --json | jq .devices
    """
    with told_errors():
        from runtime.cli.doctor import run

        raise typer.Exit(run(json, verify))


@app.command()
def tune(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A bundle, by name or folder; else the one shipped.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Runs of each setting; the median counts.")] = 5,
) -> None:
    """Time a bundle on every device of this machine, and keep what was found: `--device auto` then takes the fastest.

    That changes the device and never the precision: bf16 is measured too, but used on request alone.

    \b
    Example:
      vlscore tune RN50
    """
    with told_errors():
        from runtime.cli.tune import run

        run(model, rounds)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="A name of `vlscore models`.")],
    origin: Annotated[
        str | None, typer.Option("--from", metavar="WHERE", help="Other weights: a file, a folder, or hf:ORG/NAME.")
    ] = None,
    activation: Annotated[str | None, typer.Option(help="gelu or quickgelu, for files that do not say.")] = None,
    precision: Annotated[str, typer.Option(help="fp32, or fp16 for cards.")] = "fp32",
    out: Annotated[Path | None, typer.Option(help="The bundle's folder; else by name in $VLSCORE_HOME.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Make it again.")] = False,
    untrained: Annotated[bool, typer.Option("--untrained", help="Keep weights that know nothing, as a test.")] = False,
    methods: Annotated[
        str | None, typer.Option(help="Further methods: `all` (else the same in a new model), `none`, or names with commas.")
    ] = None,
) -> None:
    """Make a model from published weights, without PyTorch: fetch them, or take a file that is here.

    \b
    Examples:
      vlscore pull RN50
      vlscore pull RN50 --from RN50.pt --out bundles/RN50
      vlscore pull ViT-B-16 --methods naclip,gem    # added to the model that is here
    """
    with told_errors():
        from runtime.cli.models import run_pull

        run_pull(name, origin, activation, precision, out, force, untrained, methods)


@app.command()
def models(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the models that can be had, their sizes and licences, and which are here.

    \b
    Example:
      vlscore models --json | jq '.[] | select(.here)'
    """
    with told_errors():
        from runtime.cli.models import run_models

        run_models(json)


@app.command()
def methods(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="A bundle, by name or folder; else the one shipped.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the methods of localization, and which of them a model can be asked by.

    \b
    Examples:
      vlscore methods RN50
      vlscore locate street.jpg "a red bus" --model RN50 --method maskclip
    """
    with told_errors():
        from runtime.cli.methods import run_methods

        run_methods(model, json)


@app.command("app")
def browser_app(
    host: Annotated[str, typer.Option(help="Where to listen; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
) -> None:
    """The same in a browser: upload a picture, describe, see boxes and heat. Needs the extra `app`.

    \b
    Example:
      vlscore app --port 8600 --no-browser
    """
    with told_errors():
        from runtime.app.launch import run

        raise typer.Exit(run(host, port, browser))


add_aliases(app)


def main() -> None:
    """Run the command line; text that the terminal cannot show is escaped, not an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except KeyboardInterrupt:  # while a command was still being imported
        sys.stderr.write("interrupted\n")
        raise SystemExit(INTERRUPTED) from None
