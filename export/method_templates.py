"""`python -m export.method_templates`: the graphs of methods without weights, which go with the template of their backbone.

They are made and proved as templates are (`export/templates.py`), over what the backbone's template gives when it is filled:
their tensors point into the weights that lie there.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Optional

import onnx
import typer

from engine.manifest import GraphInfo
from engine.methods import named_methods
from engine.records import to_json
from export.assemble import take_apart, writer
from export.backbones import QUICK, find_backbone
from export.dense_graphs import tower_of
from export.method_graphs import SHARED, known_weights, look_with, save_sharing, write_method
from export.onnx_files import ExportError, WeightsFile, save_graph, turn_where_known
from export.options import BuildOptions
from export.recipes import Recipes
from export.templates import SEEDS, cut, head_counts, look, needed, random_weights, run_named, state
from export.weights import Loaded
from runtime.filling.fill import cell_tensors, pixel_tensors, write_graphs
from runtime.filling.template import (
    FOLDER,
    METHODS,
    GraphTemplate,
    Template,
    open_methods,
    open_template,
    save_methods,
    shipped,
    with_methods,
    with_methods_shipped,
)

Save = Callable[[onnx.ModelProto, Path, WeightsFile], None]
WITH_METHODS = ("ViT-B-16", "ViT-B-32", "ViT-L-14", "RN50")  # the models that most people use, with either activation


def make(loaded: Loaded, base: Template, folder: Path, names: str = "all") -> Template:
    """Trace the methods of a backbone, and find out the recipes of their tensors."""
    maps = base.manifest["maps"]
    made = pixel_tensors(base.manifest, look(loaded, base.manifest["image"]["side"]))
    recipes = Recipes(state(loaded) | made | cell_tensors((maps["height"], maps["width"])), head_counts(loaded))
    graphs: list[GraphTemplate] = []

    def keep(model: onnx.ModelProto, path: Path, weights: WeightsFile) -> None:
        if weights.shared is not None:
            turn_where_known(model, weights.shared)
        slots = tuple(recipes.slot(tensor) for tensor in model.graph.initializer)
        graphs.append(GraphTemplate(path.stem, weights.path.name, SHARED, cut(model), slots))
        save_graph(model, path, weights)

    described = {**trace(loaded, base, folder, keep, names), "base": stamp(base)}
    expects = {key: array.shape for key, array in state(loaded).items() if array.dtype.kind == "f" and needed(key, graphs)}
    return Template(described, expects, tuple(graphs))


def prove(loaded: Loaded, base: Template, added: Template) -> float:
    """Fill the templates with other weights, and compare every byte with what tracing them gives; tells the seconds it took."""
    names = ",".join(added.manifest["methods"])
    with tempfile.TemporaryDirectory() as place:
        expected, filled = Path(place) / "traced", Path(place) / "filled"
        expected.mkdir()
        filled.mkdir()
        trace(loaded, base, expected, save_sharing, names)
        started = time.perf_counter()
        whole = with_methods(base, added, names.split(","))
        write_graphs(whole, state(loaded), look(loaded, base.manifest["image"]["side"]), filled, run_named)
        seconds = time.perf_counter() - started
        differing = [path.name for path in expected.iterdir() if path.read_bytes() != (filled / path.name).read_bytes()]
    if differing:
        raise ExportError(f"the filled methods differ from tracing in {', '.join(differing)}")
    return seconds


def trace(loaded: Loaded, base: Template, folder: Path, keep: Save, names: str) -> dict[str, dict[str, object]]:
    """Fill a backbone's template and trace its methods beside it; gives what a manifest says of them."""
    parts = take_apart(loaded, BuildOptions())
    write_graphs(base, state(loaded), look(loaded, parts.side), folder, run_named)
    shared, graphs, infos = known_weights(folder), dict[str, GraphInfo](), dict[str, object]()
    write = writer(folder, graphs, typer.echo, keep)
    for method in named_methods(names, tower_of(parts.encoder)):
        made = look_with(parts, method, loaded, 0)
        write_method(write, method.name, made, parts, shared)
        infos[method.name] = to_json(made.info)
    return {"graphs": {name: to_json(info) for name, info in graphs.items()}, "methods": infos}


def weights_for(name: str, seed: int) -> Loaded:
    """Random weights of a backbone, by its template's name."""
    return random_weights(find_backbone(name.removesuffix(QUICK)), "quickgelu" if name.endswith(QUICK) else "gelu", seed)


def stamp(base: Template) -> str:
    """What changes when a backbone's template is traced otherwise: those of its methods must then be made again."""
    image = next(graph for graph in base.graphs if graph.name == "image")
    return hashlib.sha256(repr((image.pieces.nodes, image.slots)).encode()).hexdigest()


def image_half(base: Template) -> Template:
    """The graphs of a template that methods share weights with."""
    return replace(base, graphs=tuple(graph for graph in base.graphs if SHARED in (graph.weights, graph.shared)))


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    names: Annotated[Optional[list[str]], typer.Argument(help="Which templates; else those of the usual models.")] = None,  # noqa: UP045
    folder: Annotated[Path, typer.Option(help="Where to write them.")] = FOLDER,
) -> None:
    """Make the templates of methods anew, which must follow whenever the template of their backbone changes; prove each."""
    usual = [name for name in shipped() if name.removesuffix(QUICK) in WITH_METHODS]
    for name in names or usual:
        started = time.perf_counter()
        base = image_half(open_template(name))
        with tempfile.TemporaryDirectory() as place:
            made = make(weights_for(name, SEEDS[0]), base, Path(place))
        seconds = prove(weights_for(name, SEEDS[1]), base, made)
        size = keep(name, made, folder)
        whole = time.perf_counter() - started
        typer.echo(f"{name}: filled in {seconds:.1f} s, equal to its trace; made in {whole:.0f} s; all take {size} bytes")


def keep(name: str, made: Template, folder: Path) -> int:
    """Put a backbone's methods among those of others; gives the size of the file."""
    others = {other: open_methods(other, folder) for other in with_methods_shipped(folder)}
    there = {other: template for other, template in others.items() if template is not None}
    return (folder / METHODS).write_bytes(save_methods({**there, name: made}))


if __name__ == "__main__":
    app()
