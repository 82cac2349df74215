"""`python -m export.methods BUNDLE --methods gem,naclip`: methods added to a bundle, whose other files stay as they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

import export.needs  # noqa: F401 - before anything that imports PyTorch
from engine.manifest import Manifest
from export import show
from export.assemble import write_manifest
from export.backbones import find_backbone
from export.method_graphs import add_methods, asked_methods
from export.sources import default_weights, find_source
from export.store import locked, new_bundle
from export.weights import load
from runtime.bundles import find_bundle, read_manifest
from runtime.errors import VlscoreError, WeightsError

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def extend(target: Path, names: str, side: int, model: tuple[str, str, int], report: show.Report) -> Manifest:
    """Add methods to the bundle at `target`, from the model that it was built from; it is changed as a whole or not at all."""
    manifest = read_manifest(target)
    backbone_name, pretrained, seed = model
    backbone = find_backbone(backbone_name or manifest.backbone)
    report("loading the weights")
    loaded = load(backbone, find_source(backbone, pretrained or tag_of(manifest), None), seed)
    if loaded.weights.sha256 != manifest.weights.sha256:
        raise WeightsError(
            f"`{target}` was built from other weights than `{loaded.weights.tag}`; name its own with `--pretrained`, and `--seed`"
        )
    methods = asked_methods(names, manifest.tower)
    with new_bundle(target) as folder:
        for path in target.iterdir():
            shutil.copy2(path, folder / path.name)
        manifest = add_methods(folder, manifest, loaded, methods, side, report)
        write_manifest(folder, manifest)
    return manifest


def tag_of(manifest: Manifest) -> str:
    """What `--pretrained` was when a bundle was built, where its manifest tells."""
    own = default_weights(find_backbone(manifest.backbone))
    return own if Path(own).name == manifest.weights.tag else manifest.weights.tag


@app.command()
def main(
    bundle: Annotated[str, typer.Argument(help="A bundle, by name or folder.")],
    methods: Annotated[str, typer.Option(help="`all`, or names with commas between.")],
    side: Annotated[int, typer.Option(min=0, help="Side of the square that they look at; else the model's own.")] = 0,
    backbone: Annotated[str, typer.Option(help="The model's name or configuration, where the bundle's is not enough.")] = "",
    pretrained: Annotated[str, typer.Option(help="The weights that the bundle was built from, where they are a file.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of `--pretrained none`.")] = 0,
) -> None:
    """Add methods to a bundle without building the rest anew; its scenes stay good."""
    try:
        target = find_bundle(bundle)
        with locked(target), show.progress(target.name, 1) as report:
            manifest = extend(target, methods, side, (backbone, pretrained, seed), report)
    except VlscoreError as error:
        show.refusal(error)
        raise typer.Exit(1) from None
    show.methods(manifest, target)


if __name__ == "__main__":
    app()
