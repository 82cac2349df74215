"""From a loaded model to the files of a bundle: towers, graphs, tokenizer, manifest."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import onnx
import open_clip
import torch
from open_clip.modified_resnet import ModifiedResNet
from torch import nn

from engine.manifest import MANIFEST, SCHEMA, FileInfo, GraphInfo, ImageInfo, Manifest, MapsInfo, MaskInfo, TextInfo
from export.backbones import Backbone
from export.coca import AppendedText, asked_once
from export.contract import check_contract
from export.encoders import FACETS, ResNetEncoder, Tower, ViTEncoder, let_go, to_half
from export.graphs import ImageGraph, MaskedGraph, Pixels, SaliencyGraph, TextGraph, looks_back_only
from export.instant import BlankGraph, InstantGraph
from export.onnx_files import OPSET, WeightsFile, export_graph, run_once, save_graph, signature
from export.options import HALVES, LARGE, SLOTS, SMALLER, BuildOptions, versions
from export.patches import BlankPatchGraph, PatchGraph, has_patches
from export.vocabulary import write_templates, write_tokenizer
from export.weights import Loaded
from runtime.filling.origin import sha256_of

MASK_EPS = 1e-7
BLANK = "blank"  # the graph of the blank picture, which is run while a bundle is made and then removed
QUERIES = 16  # texts per run of the saliency graph, where one costs as much as sixteen, and of `text-many`
SHORT = 16  # tokens: "a photo of the large brown dog" has nine, its ends included
Report = Callable[[str], None]
Inputs = dict[str, torch.Tensor]
Save = Callable[[onnx.ModelProto, Path, WeightsFile], None]
Write = Callable[[str, nn.Module, Inputs, tuple[str, ...], WeightsFile], None]


@dataclass(frozen=True)
class Parts:
    """The towers of one model, and the sizes that every graph agrees on."""

    encoder: ResNetEncoder | ViTEncoder
    text: Tower
    dtype: torch.dtype
    side: int
    maps: MapsInfo
    dim: int
    context: int
    batch: int


def take_apart(loaded: Loaded, options: BuildOptions) -> Parts:
    """Make the encoder and the text tower at the asked precision, and read off the sizes."""
    visual = loaded.model.visual
    if options.precision == "fp16":
        visual = copy.deepcopy(visual)
    encoder, maps = (resnet_parts if isinstance(visual, ModifiedResNet) else vit_parts)(visual, options)
    size = visual.image_size
    side = size if isinstance(size, int) else size[0]
    text = AppendedText(loaded.model.text) if isinstance(loaded.model, open_clip.CoCa) else loaded.model
    if options.precision == "fp16":
        text = copy.deepcopy(text, {id(loaded.model.visual): None})  # the float32 model stays whole, for the gate
        to_half(encoder)
        to_half(text)
    return Parts(
        encoder=encoder.eval(),
        text=text,
        dtype=torch.float16 if options.precision == "fp16" else torch.float32,
        side=side,
        maps=maps,
        dim=visual.output_dim,
        context=int(loaded.model.context_length),
        batch=options.batch_for(side, maps.count),
    )


def resnet_parts(visual: Tower, options: BuildOptions) -> tuple[ResNetEncoder, MapsInfo]:
    """A ResNet's maps: the closing ReLU of its last bottleneck."""
    grid, count = visual.image_size // 32, visual.attnpool.q_proj.in_features
    layer = f"layer4.{len(visual.layer4) - 1}"
    return ResNetEncoder(visual), MapsInfo("bottleneck", layer, count, count, grid, grid, 0, 0)


def vit_parts(visual: Tower, options: BuildOptions) -> tuple[ViTEncoder, MapsInfo]:
    """A vision transformer's maps: read inside its first blocks, reduced to principal components if so asked."""
    source, pca = options.map_source.removesuffix("-pca"), options.map_source.endswith("-pca")
    first = visual.transformer.resblocks[0].attn
    width, heads = first.embed_dim, first.num_heads
    blocks = min(options.blocks, len(visual.transformer.resblocks))
    per_block = heads if source == "attention" else width * (len(FACETS) if source == "qkv" else 1)
    raw, (height, columns) = blocks * per_block, visual.grid_size
    groups = raw // width if pca else 0
    components = min(options.components, height * columns - 1, width) if pca else 0
    count = groups * components if pca else raw
    layer = f"blocks 1-{blocks}"
    encoder = ViTEncoder(asked_once(visual), source, blocks)
    return encoder, MapsInfo(options.map_source, layer, raw, count, height, columns, groups, components)


def write_graphs(folder: Path, parts: Parts, loaded: Loaded, options: BuildOptions, report: Report) -> dict[str, GraphInfo]:
    """Export and write the graphs; those of the image half share one file of weights, and those of the text half another."""
    graphs: dict[str, GraphInfo] = {}
    write = writer(folder, graphs, report, save_graph)
    write_image_half(write, parts, loaded, options, folder)
    let_go(parts.encoder, loaded.model)
    write_text(write, parts, options.text_batch, WeightsFile(folder / "text.onnx.weights"))
    write_saliency(write, parts, WeightsFile(folder / "saliency.onnx.weights"))
    return graphs


def writer(folder: Path, graphs: dict[str, GraphInfo], report: Report, save: Save) -> Write:
    """Give the way to export a graph, save it, hold it to the contract and describe it among the others."""

    def write(name: str, module: nn.Module, inputs: Inputs, outputs: tuple[str, ...], weights: WeightsFile) -> None:
        report(f"exporting the {name} graph")
        model = export_graph(module, inputs, outputs)
        save(model, folder / f"{name}.onnx", weights)
        check_contract(model, name)
        if name != BLANK:  # which is run and gone
            graphs[name] = describe(model, f"{name}.onnx")

    return write


def write_image_half(write: Write, parts: Parts, loaded: Loaded, options: BuildOptions, folder: Path) -> None:
    """Write what encodes pictures."""
    prepared = loaded.preprocessing
    pixels = Pixels(prepared.mean, prepared.std)
    side, maps, batch = parts.side, parts.maps, parts.batch
    height, width = maps.height, maps.width
    weights = WeightsFile(folder / "image.onnx.weights")
    blank = torch.zeros(SLOTS, side, side, 3, dtype=torch.uint8)
    image = ImageGraph(pixels, parts.encoder, parts.dtype)
    write("image", image, {"pixels": blank[:1]}, ("maps", "embedding"), weights)
    encoder, dtype = parts.encoder, parts.dtype
    half = options.precision == "int8-symmetric"  # which lies over half precision, while the picture's own maps stay float32
    if half:
        encoder, dtype = copy.deepcopy(encoder), torch.float16
        to_half(encoder)
    masked = MaskedGraph(pixels, encoder, dtype, (side, height, width), masks_of(options))
    passes = {"pixels": blank, "which": torch.zeros(batch, dtype=torch.int64), "maps": torch.rand(batch, height, width)}
    halves = WeightsFile(folder / HALVES, shared=weights) if half else weights
    write("masked", masked, passes, ("embeddings",), halves)
    write_stand_ins(write, masked, passes, (parts, loaded, options), halves)
    write_instant(write, pixels, parts, weights)


def write_saliency(write: Write, parts: Parts, weights: WeightsFile) -> None:
    """Write what turns embeddings of words and passes into maps."""
    count, height, width = parts.maps.count, parts.maps.height, parts.maps.width
    scoring = {
        "embeddings": torch.rand(count, parts.dim),
        "base": torch.rand(parts.dim),
        "maps": torch.rand(count, height, width),
        "texts": torch.rand(QUERIES, parts.dim),
        **{name: torch.tensor(1.0) for name in ("temperature", "combine", "contrast")},
    }
    write("saliency", SaliencyGraph(MASK_EPS), scoring, ("scores", "saliency"), weights)


def write_instant(write: Write, pixels: Pixels, parts: Parts, weights: WeightsFile) -> None:
    """Write the instant graph, for which the blank picture is run once; what it holds of that has a file of its own.

    A machine rounds as it rounds: the other files of a model are the same everywhere.
    """
    encoder, dtype = parts.encoder, parts.dtype
    own = WeightsFile(weights.path.with_name("instant.onnx.weights"), shared=weights)
    picture = {"pixels": torch.zeros(1, parts.side, parts.side, 3, dtype=torch.uint8)}
    if isinstance(encoder, ResNetEncoder):
        rows, tokens = look_at_nothing(write, BlankGraph(encoder, dtype), ("rows", "tokens"), parts.side, weights)
        instant = InstantGraph(pixels, encoder, dtype, MASK_EPS, (rows, tokens))
        write("instant", instant, picture, ("maps", "embedding", "embeddings", "base"), own)
    elif has_patches(encoder.visual):
        (token,) = look_at_nothing(write, BlankPatchGraph(encoder, dtype), ("token",), parts.side, weights)
        patches = PatchGraph(pixels, encoder, dtype, token)
        write("instant", patches, picture, ("maps", "embedding", "patches", "base"), own)


def look_at_nothing(
    write: Write, module: nn.Module, outputs: tuple[str, ...], side: int, weights: WeightsFile
) -> list[torch.Tensor]:
    """Write the graph of the blank picture, run it, and remove it."""
    nothing = torch.zeros(1, 3, side, side)
    write(BLANK, module, {"pixels": nothing}, outputs, weights)
    graph = weights.path.with_name(f"{BLANK}.onnx")
    found = run_once(graph, {"pixels": nothing.numpy()})
    graph.unlink()
    return [torch.from_numpy(values) for values in found]


def write_text(write: Write, parts: Parts, batch: int, weights: WeightsFile) -> None:
    """Write the text tower: whole, and for short texts, which nearly all are, where that changes no number."""

    def tokens(texts: int, context: int) -> Inputs:
        return {"tokens": torch.zeros(texts, context, dtype=torch.int64)}

    write("text", TextGraph(parts.text), tokens(batch, parts.context), ("embeddings",), weights)
    if parts.context > SHORT and looks_back_only(parts.text):
        short = TextGraph(parts.text, SHORT)
        write("text-short", short, tokens(1, SHORT), ("embeddings",), weights)
        write("text-many", short, tokens(QUERIES, SHORT), ("embeddings",), weights)


def write_stand_ins(
    write: Write, masked: MaskedGraph, passes: Inputs, model: tuple[Parts, Loaded, BuildOptions], weights: WeightsFile
) -> None:
    """Write what stands behind the masked graph: a smaller batch where it is large, float32 where that is asked for."""
    parts, loaded, options = model
    batch, (height, width) = parts.batch, (parts.maps.height, parts.maps.width)
    if batch >= LARGE and batch % SMALLER == 0:
        small = batch // SMALLER
        fewer = {**passes, "which": passes["which"][:small], "maps": passes["maps"][:small]}
        write("masked-small", masked, fewer, ("embeddings",), weights)
    if options.retry and options.precision != "fp32":
        visual = loaded.model.visual
        encoder, _ = (resnet_parts if isinstance(visual, ModifiedResNet) else vit_parts)(visual, options)
        full = MaskedGraph(masked.pixels, encoder.eval(), torch.float32, (parts.side, height, width), masks_of(options))
        write("masked-fp32", full, passes, ("embeddings",), WeightsFile(weights.path.with_name("masked-fp32.onnx.weights")))


def masks_of(options: BuildOptions) -> MaskInfo:
    """How masks are made: what the spec bakes into the masked graph."""
    return MaskInfo(options.spec.mask_align, options.spec.mask_order, MASK_EPS)


def describe(model: onnx.ModelProto, file: str) -> GraphInfo:
    """A graph's file and signature, for the manifest."""
    return GraphInfo(file=file, inputs=signature(model.graph.input), outputs=signature(model.graph.output))


def write_words(folder: Path, loaded: Loaded) -> None:
    """Write the tokenizer and the prompt templates."""
    write_tokenizer(folder / "tokenizer.json", loaded.tokenizer)
    write_templates(folder / "templates.json")


def make_manifest(
    folder: Path, backbone: Backbone, loaded: Loaded, parts: Parts, options: BuildOptions, graphs: dict[str, GraphInfo]
) -> Manifest:
    """Describe what was written; parity and the inputs' hash are filled in later."""
    prepared = loaded.preprocessing
    files = {path.name: FileInfo(path.stat().st_size, sha256_of(path)) for path in sorted(folder.iterdir())}
    return Manifest(
        schema=SCHEMA,
        backbone=backbone.name,
        weights=loaded.weights,
        image=ImageInfo(parts.side, prepared.mean, prepared.std, prepared.resample),
        maps=parts.maps,
        masks=masks_of(options),
        text=TextInfo(parts.context, options.text_batch),
        dim=parts.dim,
        logit_scale=float(loaded.model.logit_scale.detach().float().exp()),
        batch=parts.batch,
        slots=SLOTS,
        precision=options.precision,
        opset=OPSET,
        graphs=graphs,
        files=files,
        built_with=versions(),
        parity={},
        inputs_hash="",
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        presence=backbone.presence,
        nouns=backbone.nouns,
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest."""
    (folder / MANIFEST).write_text(json.dumps(manifest.to_dict(), indent=1) + "\n", encoding="utf-8")
