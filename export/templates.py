"""`python -m export.templates`: graphs without weights, and how each of their tensors follows from a checkpoint's.

Nothing is written by hand per architecture. A backbone of random weights is traced exactly as a build traces it, and for every
tensor of the graphs it is looked up, by value, from which tensor of the checkpoint and by which steps it comes. What is found
nowhere must follow from no weight. That is not believed but tried: the template is filled with other random weights, and has
to give the very bytes that tracing those weights gives.
"""

from __future__ import annotations

import json
import lzma
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Optional, cast

import numpy as np
import onnx
import torch
import typer
from numpy.typing import NDArray

from engine.manifest import TEXT_GRAPHS, GraphInfo, ImageInfo, WeightsInfo
from engine.records import to_json
from export import assemble, show
from export.backbones import QUICK, Backbone, empty_model, find_backbone
from export.catalogue import offered
from export.onnx_files import ExportError, WeightsFile, run_once, save_graph
from export.options import BuildOptions, Precision
from export.recipes import Arrays, Recipes
from export.sources import find_source
from export.vocabulary import clip_tokenizer, write_tokenizer
from export.weights import Loaded, preprocessing_of
from runtime.errors import VlscoreError
from runtime.filling.bundle import TOKENIZER
from runtime.filling.catalogue import Activation
from runtime.filling.fill import BLANK, pixel_tensors, write_graphs
from runtime.filling.onnx_writer import Pieces
from runtime.filling.template import FOLDER, GraphTemplate, Template, file_name, save
from runtime.filling.template import load as load_template

SEEDS = (1, 2)  # of the weights that recipes are found with, and of those that prove them


def random_weights(backbone: Backbone, activation: Activation, seed: int) -> Loaded:
    """A model no two of whose tensors are equal: the exporter stores equal ones once, as trained ones never are."""
    source = find_source(backbone, "none", activation)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = empty_model(backbone, source.quick_gelu)
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape)
                tensor.mul_(1 + 0.02 * noise).add_(noise, alpha=0.002)
    nothing = WeightsInfo("none", "seeded random weights", "", "none", trained=False)
    return Loaded(model.eval(), nothing, preprocessing_of(model, source), clip_tokenizer())


def state(loaded: Loaded) -> Arrays:
    """A model's tensors by name."""
    return {name: tensor.numpy() for name, tensor in loaded.model.state_dict().items()}


def make(
    backbone: Backbone, activation: Activation, options: BuildOptions, seed: int, folder: Path, twin: Template | None = None
) -> Template:
    """Trace a backbone and find out the recipes of its tensors; the traced graphs stay in the folder.

    A twin is the template of a backbone with the same text tower: its text graphs are taken, not traced again.
    """
    loaded = random_weights(backbone, activation, seed)
    parts = assemble.take_apart(loaded, options)
    tensors = state(loaded)
    manifest = describe(backbone, loaded, parts, options)
    recipes = Recipes(tensors | pixel_tensors(manifest, look(loaded, parts.side)), head_counts(loaded))
    graphs: list[GraphTemplate] = []

    def keep(model: onnx.ModelProto, path: Path, weights: WeightsFile) -> None:
        slots = tuple(recipes.slot(tensor) for tensor in model.graph.initializer)
        shared = "" if weights.shared is None else weights.shared.path.name
        graphs.append(GraphTemplate(path.stem, weights.path.name, shared, cut(model), slots))
        save_graph(model, path, weights)
        if path.stem == BLANK:
            found = run_named(path, {"pixels": np.zeros((1, 3, parts.side, parts.side), dtype=np.float32)})
            recipes.learn({f"made.blank_{name}": values for name, values in found.items()})

    infos: dict[str, GraphInfo] = {}
    write = assemble.writer(folder, infos, lambda step: None, keep)
    assemble.write_image_half(write, parts, loaded, options, folder)
    if twin is None:
        assemble.write_text(write, parts, options.text_batch, WeightsFile(folder / "text.onnx.weights"))
    else:
        graphs.extend(graph for graph in twin.graphs if graph.name in TEXT_GRAPHS)
    assemble.write_saliency(write, parts, WeightsFile(folder / "saliency.onnx.weights"))
    theirs = {} if twin is None else twin.manifest["graphs"]
    described = {name: to_json(info) for name, info in infos.items()}
    manifest["graphs"] = {each.name: described.get(each.name) or theirs[each.name] for each in graphs if each.name != BLANK}
    expects = {name: tensor.shape for name, tensor in tensors.items() if tensor.dtype.kind == "f" and needed(name, graphs)}
    return Template(manifest, expects, tuple(graphs))


def cut(model: onnx.ModelProto) -> Pieces:
    """A graph's bytes without its tensors, cut where they go."""
    graph = model.graph
    rest = onnx.GraphProto(input=graph.input, output=graph.output, value_info=graph.value_info)
    after = onnx.ModelProto(opset_import=model.opset_import)
    before = onnx.ModelProto(ir_version=model.ir_version, producer_name=model.producer_name)
    before.producer_version = model.producer_version
    pieces = (before, onnx.GraphProto(node=graph.node), onnx.GraphProto(name=graph.name), rest, after)
    return Pieces(*(piece.SerializeToString(deterministic=True) for piece in pieces))


def head_counts(loaded: Loaded) -> list[int]:
    """In how many heads this model's projections may be split."""
    attentions = [module for module in loaded.model.modules() if hasattr(module, "num_heads")]
    return sorted({int(module.num_heads) for module in attentions})


def needed(name: str, graphs: list[GraphTemplate]) -> bool:
    """Whether any recipe speaks of a tensor; a BatchNorm is named as a whole."""
    recipes = {slot.recipe for graph in graphs for slot in graph.slots}
    norm = name.rpartition(".")[0]
    return name == "logit_scale" or any(name in recipe.split() or norm in recipe.split()[1:] for recipe in recipes)


def look(loaded: Loaded, side: int) -> ImageInfo:
    """How a model wants its pictures."""
    prepared = loaded.preprocessing
    return ImageInfo(side, prepared.mean, prepared.std, prepared.resample)


def describe(backbone: Backbone, loaded: Loaded, parts: assemble.Parts, options: BuildOptions) -> dict[str, Any]:
    """What the manifest of a filled bundle says that weights do not decide."""
    with tempfile.TemporaryDirectory() as empty:
        whole = assemble.make_manifest(Path(empty), backbone, loaded, parts, options, {}).to_dict()
    left_out = ("weights", "files", "parity", "inputs_hash", "created", "logit_scale", "nouns", "methods")
    return {name: value for name, value in whole.items() if name not in left_out}


def prove(
    template: Template, backbone: Backbone, activation: Activation, options: BuildOptions, seed: int, *, texts: bool = True
) -> float:
    """Fill a template with other weights, and compare every byte with what tracing them gives; tells the seconds of filling.

    Without `texts` the text graphs are left out: those of a twin were proved with it.
    """
    with tempfile.TemporaryDirectory() as place:
        traced, filled = Path(place) / "traced", Path(place) / "filled"
        traced.mkdir()
        filled.mkdir()
        loaded = random_weights(backbone, activation, seed)
        parts = assemble.take_apart(loaded, options)
        write = assemble.writer(traced, {}, lambda step: None, save_graph)
        assemble.write_image_half(write, parts, loaded, options, traced)
        if texts:
            assemble.write_text(write, parts, options.text_batch, WeightsFile(traced / "text.onnx.weights"))
        assemble.write_saliency(write, parts, WeightsFile(traced / "saliency.onnx.weights"))
        started = time.perf_counter()
        write_graphs(template, state(loaded), look(loaded, parts.side), filled, run_named)
        seconds = time.perf_counter() - started
        differing = [path.name for path in traced.iterdir() if path.read_bytes() != (filled / path.name).read_bytes()]
    if differing:
        raise ExportError(f"the filled template of {backbone.name} differs from tracing in {', '.join(differing)}")
    return seconds


def run_named(graph: Path, inputs: Mapping[str, NDArray[np.float32]]) -> Arrays:
    """Run a graph; give its outputs by name."""
    names = [output.name for output in onnx.load(graph, load_external_data=False).graph.output]
    return dict(zip(names, run_once(graph, dict(inputs)), strict=True))


Twins = dict[str, Template]


def write(name: str, activation: Activation, precision: Precision, folder: Path, twins: Twins) -> None:
    """Make, prove and write the template of a backbone."""
    started = time.perf_counter()
    backbone, options = find_backbone(name), BuildOptions(precision=precision)
    tower = json.dumps([backbone.config["text_cfg"], backbone.config["embed_dim"], activation, precision])
    twin = twins.get(tower)
    with tempfile.TemporaryDirectory() as place:
        template = make(backbone, activation, options, SEEDS[0], Path(place), twin)
    packed = save(template)
    seconds = prove(load_template(packed), backbone, activation, options, SEEDS[1], texts=twin is None)
    twins.setdefault(tower, template)
    stem = backbone.name + (QUICK if activation == "quickgelu" else "")
    (folder / file_name(stem, precision)).write_bytes(packed)
    whole = time.perf_counter() - started
    typer.echo(f"{stem} {precision}: {len(packed)} bytes, filled in {seconds:.1f} s, equal to its trace; made in {whole:.0f} s")


def packed_tokenizer() -> bytes:
    """CLIP's tokenizer, compressed."""
    with tempfile.TemporaryDirectory() as place:
        write_tokenizer(Path(place) / "tokenizer.json", clip_tokenizer())
        return lzma.compress((Path(place) / "tokenizer.json").read_bytes(), preset=9 | lzma.PRESET_EXTREME)


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def main(
    names: Annotated[Optional[list[str]], typer.Argument(help="Which; else all that the catalogue needs.")] = None,  # noqa: UP045
    precision: Annotated[str, typer.Option(help="fp32 or fp16.")] = "fp32",
    folder: Annotated[Path, typer.Option(help="Where to write them.")] = FOLDER,
) -> None:
    """Make templates, and prove each by filling it."""
    if precision not in ("fp32", "fp16"):
        raise typer.BadParameter(f"`{precision}` is none of fp32, fp16", param_hint="--precision")
    try:
        make_all(names or sorted({line["template"] for line in offered()}), cast("Precision", precision), folder)
    except VlscoreError as error:
        show.refusal(error)
        raise typer.Exit(1) from None


def make_all(names: list[str], precision: Precision, folder: Path) -> None:
    """Write the templates of these backbones, and CLIP's tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    TOKENIZER.write_bytes(packed_tokenizer())
    twins: Twins = {}
    for name in names:
        write(name, "quickgelu" if name.endswith(QUICK) else "gelu", precision, folder, twins)


if __name__ == "__main__":
    app()
