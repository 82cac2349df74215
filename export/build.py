"""`python -m export.build --backbone RN50`: open_clip weights in, a verified bundle out."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import time
from pathlib import Path
from typing import Annotated, Optional

import typer

import export.needs  # noqa: F401 - before anything that imports PyTorch
from engine.manifest import Manifest
from engine.spec import SPECS, named_spec
from export import assemble, gate, quantise, show, timing, triton
from export.backbones import Backbone, find_backbone
from export.method_graphs import add_methods, asked_methods
from export.options import MAP_SOURCES, PRECISIONS, BuildOptions, calibration_pictures, inputs_hash
from export.reference import Reference
from export.sources import Source, default_weights, find_source
from export.store import built_from, locked, new_bundle
from export.weights import load
from runtime.backends.tensorrt import TensorRTBackend
from runtime.bundles import bundle_home, bundle_name, open_bundle, read_manifest
from runtime.errors import VlscoreError
from runtime.threads import default_threads

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def build(backbone: Backbone, source: Source, options: BuildOptions, target: Path, report: show.Report) -> Manifest:
    """Build, check and publish one bundle; whatever goes wrong, the target is left as it was."""
    import torch

    torch.set_num_threads(default_threads())
    digest = inputs_hash(backbone, source, options)
    with new_bundle(target) as folder:
        report("loading the weights")
        loaded = load(backbone, source, options.seed, show.say)
        if options.tune:
            options = dataclasses.replace(options, batch=timing.best_batch(loaded, options, report))
        parts = assemble.take_apart(loaded, options)
        graphs = assemble.write_graphs(folder, parts, loaded, options, report)
        assemble.write_words(folder, loaded)
        manifest = assemble.make_manifest(folder, backbone, loaded, parts, options, graphs)
        assemble.write_manifest(folder, manifest)
        speeds: dict[str, object] = {}
        if options.precision == "int8":
            manifest, speeds = in_eight_bits(folder, manifest, options, report)
        elif options.precision == "int8-symmetric":
            report("calibrating on masked pictures")  # whether it is faster only an NVIDIA card can tell
            manifest = quantise.quantise_bundle(folder, manifest, calibration_pictures(options.calibrate))
            assemble.write_manifest(folder, manifest)
        reference = Reference(loaded, parts.maps, options.spec)
        side = parts.side
        del parts  # and with it the rewritten towers
        for parity, allowed in gate.comparisons(folder, reference, options, report):  # a few passes first: a refusal comes early
            gate.check(parity, options.precision, allowed)
        manifest = add_methods(folder, manifest, loaded, asked_methods(options.methods, manifest.tower), side, report)
        manifest = dataclasses.replace(manifest, parity={**gate.figures(parity, allowed), **speeds}, inputs_hash=digest)
        assemble.write_manifest(folder, manifest)
    return manifest


def in_eight_bits(
    folder: Path, manifest: Manifest, options: BuildOptions, report: show.Report
) -> tuple[Manifest, dict[str, object]]:
    """Quantise the masked graph in its folder, and refuse it unless it runs truly faster; gives the speeds as figures."""
    report("calibrating on masked pictures")
    graph = folder / manifest.graphs["masked"].file
    before = graph.with_name("masked.fp32.onnx")  # beside the weights that both graphs point into
    shutil.copy(graph, before)
    manifest = quantise.quantise_bundle(folder, manifest, calibration_pictures(options.calibrate))
    assemble.write_manifest(folder, manifest)
    report("timing eight bits against float32")
    speeds = timing.compare_speeds(before, graph, manifest)
    before.unlink()
    timing.check_speeds(speeds, options.precision)
    return manifest, {"passes_per_s": speeds}


def run(backbone_name: str, pretrained: str, options: BuildOptions, out: Path | None, force: bool) -> Path:
    """Find what is asked for, build it unless it is there already, and say how it went; gives its folder."""
    backbone = find_backbone(backbone_name)
    asked_methods(options.methods, backbone.family)  # a bad name is refused at once
    pretrained = pretrained or default_weights(backbone)
    source = find_source(backbone, pretrained, options.activation)
    target = out or bundle_home() / bundle_name(backbone.name, pretrained, options.precision)
    with locked(target):
        if not force and built_from(target) == inputs_hash(backbone, source, options):
            show.up_to_date(target)
            return target
        started = time.perf_counter()
        with show.progress(backbone.name, show.steps_of(options)) as report:
            manifest = build(backbone, source, options, target, report)
            if options.tune:
                report("timing the devices of this machine")
                timing.time_devices(target, manifest)
    show.summary(manifest, target, time.perf_counter() - started)
    return target


def build_engines(folder: Path) -> int:
    """Build the TensorRT engine of every graph, as `device="tensorrt"` will look for them; gives how many there are.

    Raises DeviceError where there is no card or no TensorRT; the bundle stays as it is.
    """
    backend = TensorRTBackend(report=typer.echo)
    graphs = read_manifest(folder).graphs.values()
    for graph in graphs:
        backend.load(folder / graph.file, backend.options)
    return len(graphs)


def stop(number: int, frame: object) -> None:
    """End a build that is told to, as if it had failed: what it was writing is removed on the way out."""
    raise SystemExit(128 + number)


def listing(wanted: bool) -> None:
    """Print what can be built and leave, before anything else is asked for."""
    if wanted:
        show.listing()
        raise typer.Exit


@app.command()
def main(
    backbone: Annotated[str, typer.Option(help="A name from --list, or an open_clip model configuration (.json).")],
    pretrained: Annotated[str, typer.Option(help="A tag, `hf-hub:ORG/NAME`, a file, or `none`; else `openai`.")] = "",
    precision: Annotated[str, typer.Option(help=f"One of {', '.join(PRECISIONS)}.")] = "fp32",
    batch: Annotated[Optional[int], typer.Option(min=1, help="Masked passes per run.")] = None,  # noqa: UP045 - typer reads it
    text_batch: Annotated[int, typer.Option(min=1, help="Texts per run of the graph that reads long ones.")] = 1,
    out: Annotated[Optional[Path], typer.Option(help="Bundle folder; else by name in $VLSCORE_HOME.")] = None,  # noqa: UP045
    spec: Annotated[str, typer.Option(help="Preset whose masks are baked in: default or paper.")] = "default",
    activation: Annotated[Optional[str], typer.Option(help="gelu or quickgelu, for files that do not say.")] = None,  # noqa: UP045
    maps: Annotated[str, typer.Option(help=f"Vision transformers: {', '.join(MAP_SOURCES)}.")] = "query-pca",
    blocks: Annotated[int, typer.Option(min=1, help="Vision transformers: how many first blocks give maps.")] = 4,
    components: Annotated[int, typer.Option(min=1, help="Vision transformers: principal components per block.")] = 12,
    calibrate: Annotated[Optional[str], typer.Option(metavar="FOLDER", help="int8: pictures like those to be asked.")] = None,  # noqa: UP045
    methods: Annotated[str, typer.Option(help="Further methods: `all`, or names with commas between.")] = "",
    retry: Annotated[bool, typer.Option("--retry", help="fp16, int8: keep float32 passes too, for overflows.")] = False,
    compare: Annotated[int, typer.Option(min=1, help="Masked passes per picture that are compared with PyTorch.")] = 32,
    tune: Annotated[bool, typer.Option("--tune", help="Time batches and devices here; take the best.")] = False,
    tensorrt: Annotated[bool, typer.Option("--tensorrt", help="Build the TensorRT engines too; needs the card.")] = False,
    serve: Annotated[Optional[Path], typer.Option("--triton", metavar="DIR", help="Write a Triton model repository too.")] = None,  # noqa: UP045
    seed: Annotated[int, typer.Option(help="Seed of `--pretrained none`.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Build even when the bundle is up to date.")] = False,
    _list: Annotated[bool, typer.Option("--list", is_eager=True, callback=listing, help="List the backbones and leave.")] = False,
) -> None:
    """Build a bundle: the graphs, tokenizer and manifest that `runtime.Localizer` opens."""
    for name, value, allowed in (
        ("precision", precision, PRECISIONS),
        ("activation", activation or "gelu", ("gelu", "quickgelu")),
        ("maps", maps, MAP_SOURCES),
        ("spec", spec, SPECS),
    ):
        if value not in allowed:
            raise typer.BadParameter(f"`{value}` is none of {', '.join(allowed)}", param_hint=f"--{name}")
    signal.signal(signal.SIGTERM, stop)
    try:
        shape = (precision, batch, text_batch, named_spec(spec), seed, activation, maps, blocks, components)
        options = BuildOptions(*shape, calibrate, retry, compare, tune, methods)  # type: ignore[arg-type]
        target = run(backbone, pretrained, options, out, force)
        if tensorrt:
            typer.echo(f"{build_engines(target)} TensorRT engines are ready")
        if serve is not None:
            triton.print_written(triton.write_repository(open_bundle(target), serve, triton.Serving()), triton.Serving())
    except VlscoreError as error:
        show.refusal(error)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
