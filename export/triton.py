"""`python -m export.triton BUNDLE DIR`: a finished bundle as a model repository of NVIDIA's Triton Inference Server.

Every graph becomes a model of its own, and the front model `vlscore` calls them for pictures and queries.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Optional

import typer

from engine.manifest import MANIFEST, TEXT_FILES, TEXT_HALF
from engine.spec import SPECS, named_spec
from export.store import writing
from export.triton_config import MARK, TritonError, front_config, graph_config
from runtime.bundles import Bundle, find_bundle, open_bundle
from runtime.checks import check_masks
from runtime.errors import VlscoreError
from runtime.presets import plan_passes

Kind = Literal["cpu", "gpu"]
KINDS: tuple[str, ...] = Kind.__args__  # type: ignore[attr-defined]
VERSION = "1"
# The front model; the rest is in the package that has to be installed in the server.
FRONT = '''"""Written by `python -m export.triton`."""

from runtime.triton import TritonPythonModel

__all__ = ["TritonPythonModel"]
'''

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Serving:
    """How a bundle is served; `plans` are TensorRT engines of the masked graph by compute capability (None: to come)."""

    kind: Kind | None = None  # left open: on the GPU what is built for it
    name: str = "vlscore"
    threads: int = 0  # of each graph on the CPU; 0: ONNX Runtime chooses
    preset: str = "exact"
    spec: str = "default"
    plans: tuple[tuple[str, Path | None], ...] = ()

    def kind_for(self, precision: str) -> Kind:
        """Where the graphs run."""
        if self.kind is not None:
            return self.kind
        return "gpu" if self.plans or precision in ("fp16", "int8-symmetric") else "cpu"


def write_repository(bundle: Bundle, target: Path, serving: Serving) -> list[Path]:
    """Write one folder per model into a repository and give them; models that others put there are left alone."""
    kind = serving.kind_for(bundle.manifest.precision)
    check(bundle, serving, kind)
    written = []
    with writing(target, "the repository", "folder"):
        target.mkdir(parents=True, exist_ok=True)
        # Beside the repository: a server that watches it must never see half a model.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".triton-") as temporary:
            folders = [graph_model(bundle, graph, Path(temporary), serving, kind) for graph in bundle.manifest.graphs]
            for folder in (*folders, front_model(bundle, Path(temporary), serving)):
                final = target / folder.name
                if final.exists():
                    if not is_ours(final):
                        raise TritonError(
                            f"`{final}` is a model that was not written here; choose another folder, or another `--name`"
                        )
                    shutil.rmtree(final)
                os.replace(folder, final)
                written.append(final)
    return written


def check(bundle: Bundle, serving: Serving, kind: Kind) -> None:
    """Refuse what could not be served."""
    if kind == "gpu" and bundle.manifest.precision == "int8":
        raise TritonError(
            f"asked for `gpu`; found `{bundle.folder}` in int8, which is made for CPUs. Serve it with `--kind cpu`, or build "
            "with `--precision fp16`"
        )
    if serving.plans and kind == "cpu":
        raise TritonError("asked for TensorRT plans on `cpu`; plans run on NVIDIA cards alone: leave `--kind` out")
    check_masks(bundle, named_spec(serving.spec))
    plan_passes(bundle.manifest, serving.preset, None, None)
    lacking = [str(file) for _, file in serving.plans if file is not None and not file.is_file()]
    if lacking:
        raise TritonError(f"the plan `{lacking[0]}` does not exist; give `SM=FILE`, or `SM` alone to put it there later")


def is_ours(folder: Path) -> bool:
    """Whether a model's folder was written here."""
    try:
        return (folder / "config.pbtxt").read_text(encoding="utf-8").startswith(MARK)
    except OSError:
        return False


def graph_model(bundle: Bundle, graph: str, parent: Path, serving: Serving, kind: Kind) -> Path:
    """One graph, its weights and its configuration: `NAME_GRAPH/config.pbtxt`, `NAME_GRAPH/1/model.onnx` and beside it."""
    info = bundle.manifest.graphs[graph]
    folder = parent / f"{serving.name}_{graph}"
    version = folder / VERSION
    version.mkdir(parents=True)
    plans = serving.plans if graph == "masked" else ()
    config = graph_config(folder.name, info, kind, serving.threads, [sm for sm, _ in plans])
    (folder / "config.pbtxt").write_text(config, encoding="utf-8")
    if plans:
        for sm, file in plans:
            if file is not None:
                shutil.copyfile(file, version / plan_name(sm))
        return folder
    shutil.copyfile(bundle.graph(graph), version / "model.onnx")
    for weights in weights_of(bundle, graph):
        copy_once(bundle.file(weights), version / weights, parent)
    return folder


def copy_once(weights: Path, target: Path, parent: Path) -> None:
    """Copy a weights file to its first model, and link it from the others that point into it.

    ONNX Runtime reads weights from the folder of the graph and refuses a symbolic link that leads out of it. A hard link is
    a file like any other to it, but not to `onnx`, which refuses both ends: the bundle's own file therefore gets none.
    """
    copied = next(parent.glob(f"*/{VERSION}/{weights.name}"), None)
    if copied is not None:
        try:
            os.link(copied, target)
        except OSError:  # a file system without hard links
            copied = None
    if copied is None:
        shutil.copyfile(weights, target)


def weights_of(bundle: Bundle, graph: str) -> list[str]:
    """The weight files that a graph may point into: the image half shares one."""
    half = "text" if graph in TEXT_HALF else "image"
    wanted = () if graph == "saliency" else (f"{bundle.manifest.graphs[half].file}.", f"{bundle.manifest.graphs[graph].file}.")
    return [name for name in bundle.manifest.files if name.startswith(wanted)] if wanted else []


def plan_name(sm: str) -> str:
    """The file of a plan for a compute capability such as `9.0`."""
    return f"model_sm{sm.replace('.', '')}.plan"


def front_model(bundle: Bundle, parent: Path, serving: Serving) -> Path:
    """The model that loops over the others, with what it knows of the bundle beside it."""
    folder = parent / serving.name
    version = folder / VERSION
    version.mkdir(parents=True)
    (folder / "config.pbtxt").write_text(front_config(serving.name, serving.preset, serving.spec), encoding="utf-8")
    (version / "model.py").write_text(FRONT, encoding="utf-8")
    for name in (MANIFEST, *TEXT_FILES):
        shutil.copyfile(bundle.folder / name, version / name)
    return folder


def read_plan(text: str) -> tuple[str, Path | None]:
    """Read `9.0=masked.plan`, or `9.0` alone."""
    sm, _, file = text.partition("=")
    major, _, minor = sm.partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        raise TritonError(f"`--plan {text}` must begin with a compute capability such as `9.0`, then `=FILE`")
    return sm, Path(file) if file else None


@app.command()
def main(
    bundle: Annotated[str, typer.Argument(help="A bundle by name or folder.")],
    target: Annotated[Path, typer.Argument(help="The model repository; made if need be.")],
    kind: Annotated[Optional[str], typer.Option(help="cpu or gpu; else gpu for bundles made for it.")] = None,  # noqa: UP045
    name: Annotated[str, typer.Option(help="Name of the front model, and beginning of the others'.")] = "vlscore",
    threads: Annotated[int, typer.Option(min=0, help="Threads of each graph on the CPU; 0: ONNX Runtime chooses.")] = 0,
    preset: Annotated[str, typer.Option(help="exact, fast or instant.")] = "exact",
    spec: Annotated[str, typer.Option(help="default or paper.")] = "default",
    plans: Annotated[Optional[list[str]], typer.Option("--plan", metavar="SM[=FILE]", help="The masked graph's engine.")] = None,  # noqa: UP045
) -> None:
    """Write a bundle as a Triton model repository."""
    for option, value, allowed in (("kind", kind or KINDS[0], KINDS), ("spec", spec, SPECS)):
        if value not in allowed:
            raise typer.BadParameter(f"`{value}` is none of {', '.join(allowed)}", param_hint=f"--{option}")
    try:
        serving = Serving(kind, name, threads, preset, spec, tuple(read_plan(text) for text in plans or ()))  # type: ignore[arg-type]
        written = write_repository(open_bundle(find_bundle(bundle)), target, serving)
    except VlscoreError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    print_written(written, serving)


def print_written(written: list[Path], serving: Serving) -> None:
    """Print which models were written, and which files are still to be added."""
    typer.echo(f"wrote {', '.join(folder.name for folder in written)} into {written[0].parent}")
    for sm, file in serving.plans:
        if file is None:
            typer.echo(f"put the plan for {sm} at {written[0].parent / f'{serving.name}_masked' / VERSION / plan_name(sm)}")


if __name__ == "__main__":
    app()
