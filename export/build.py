"""`python -m export.build --backbone RN50`: open_clip weights in, a verified bundle out."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Optional

import torch
import typer

from engine.manifest import Manifest
from engine.spec import preset
from export import assemble, gate, show
from export.backbones import Backbone, BackboneError, find_backbone
from export.onnx_files import ExportError
from export.options import MAP_SOURCES, Options, inputs_hash
from export.reference import Reference
from export.store import StoreError, built_from, locked, new_bundle
from export.weights import Source, WeightsError, default_weights, find_source, load
from runtime.errors import VlscoreError
from runtime.home import bundle_home, bundle_name
from runtime.threads import default_threads

REFUSED = (BackboneError, WeightsError, StoreError, ExportError, gate.GateError, VlscoreError, ValueError)

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def build(backbone: Backbone, source: Source, options: Options, target: Path, report: show.Report) -> Manifest:
    """Build, check and publish one bundle; whatever goes wrong, the target is left as it was."""
    torch.set_num_threads(default_threads())
    with new_bundle(target) as folder:
        report("loading the weights")
        loaded = load(backbone, source, options.seed)
        parts = assemble.take_apart(loaded, options)
        graphs = assemble.write_graphs(folder, parts, loaded, options, report)
        assemble.write_words(folder, parts)
        manifest = assemble.make_manifest(folder, backbone, loaded, parts, options, graphs)
        assemble.write_manifest(folder, manifest)
        report("comparing with PyTorch on real pictures")
        reference = Reference(loaded, parts.maps, options.spec)
        allowed = gate.tolerance_for(options.precision, manifest.weights.trained)
        parity = gate.measure(folder, reference, options.spec, allowed)
        gate.check(parity, options.precision, allowed)
        digest = inputs_hash(backbone, source, options)
        manifest = dataclasses.replace(manifest, parity=gate.figures(parity), inputs_hash=digest)
        assemble.write_manifest(folder, manifest)
    return manifest


def run(backbone_name: str, pretrained: str, options: Options, out: Path | None, force: bool) -> None:
    """Find what is asked for, build it unless it is there already, and say how it went."""
    backbone = find_backbone(backbone_name)
    pretrained = pretrained or default_weights(backbone)
    source = find_source(backbone, pretrained, options.activation)
    target = out or bundle_home() / bundle_name(backbone.name, pretrained, options.precision)
    with locked(target):
        if not force and built_from(target) == inputs_hash(backbone, source, options):
            show.up_to_date(target)
            return
        started = time.perf_counter()
        with show.progress(backbone.name) as report:
            manifest = build(backbone, source, options, target, report)
    show.summary(manifest, target, time.perf_counter() - started)


def listing(wanted: bool) -> None:
    """Print what can be built and leave, before anything else is asked for."""
    if wanted:
        show.listing()
        raise typer.Exit


@app.command()
def main(
    backbone: Annotated[str, typer.Option(help="A name from --list, or an open_clip model configuration (.json).")],
    pretrained: Annotated[str, typer.Option(help="A tag, `hf-hub:ORG/NAME`, a file, or `none`; else `openai`.")] = "",
    precision: Annotated[str, typer.Option(help="fp32 or fp16.")] = "fp32",
    batch: Annotated[Optional[int], typer.Option(min=1, help="Masked passes per run.")] = None,  # noqa: UP045 - typer reads it
    text_batch: Annotated[int, typer.Option(min=1, help="Texts per run of the text graph.")] = 1,
    out: Annotated[Optional[Path], typer.Option(help="Bundle folder; else by name in $VLSCORE_HOME.")] = None,  # noqa: UP045
    spec: Annotated[str, typer.Option(help="Preset whose masks are baked in: default or paper.")] = "default",
    activation: Annotated[Optional[str], typer.Option(help="gelu or quickgelu, for files that do not say.")] = None,  # noqa: UP045
    maps: Annotated[str, typer.Option(help=f"Vision transformers: {', '.join(MAP_SOURCES)}.")] = "query-pca",
    blocks: Annotated[int, typer.Option(min=1, help="Vision transformers: how many first blocks give maps.")] = 4,
    components: Annotated[int, typer.Option(min=1, help="Vision transformers: principal components per block.")] = 12,
    seed: Annotated[int, typer.Option(help="Seed of `--pretrained none`.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Build even when the bundle is up to date.")] = False,
    _list: Annotated[bool, typer.Option("--list", is_eager=True, callback=listing, help="List the backbones and leave.")] = False,
) -> None:
    """Build a bundle: the graphs, tokenizer and manifest that `runtime.Localizer` opens."""
    for name, value, allowed in (
        ("precision", precision, ("fp32", "fp16")),
        ("activation", activation or "gelu", ("gelu", "quickgelu")),
        ("maps", maps, MAP_SOURCES),
    ):
        if value not in allowed:
            raise typer.BadParameter(f"`{value}` is none of {', '.join(allowed)}", param_hint=f"--{name}")
    try:
        options = Options(precision, batch, text_batch, preset(spec), seed, activation, maps, blocks, components)  # type: ignore[arg-type]
        run(backbone, pretrained, options, out, force)
    except REFUSED as error:
        show.refusal(error)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
