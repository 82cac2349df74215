"""Further methods for a bundle that is there: small graphs, which point into the weights that it holds."""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.manifest import FileInfo, GraphInfo, Manifest, MethodInfo
from engine.methods import MethodError, Tower, named_methods
from engine.records import from_json, quoted
from runtime.bundles import bundle_home, read_manifest
from runtime.errors import ArgumentError, BundleError
from runtime.filling.catalogue import QUICK, lookup
from runtime.filling.fill import GraphWriter, Known, cell_tensors
from runtime.filling.hub import Say
from runtime.filling.place import beside, write_manifest
from runtime.filling.stored import BundleTensors, known_in
from runtime.filling.template import Template, open_methods, open_template, shipped, with_methods, with_methods_shipped


def add_methods(folder: Path, names: str, say: Say) -> None:
    """Add methods to a bundle, by name or `all`, out of the weights that it has; its other files stay as they are."""
    manifest = read_manifest(folder)
    named(names, manifest.tower)  # what means nothing is refused first
    base, added, known = fitting(folder, manifest, names)
    wanted = [name for name in offered(added, names, manifest.tower) if name not in manifest.methods]
    if not wanted:
        return
    say(f"adding {quoted(wanted)} to {folder}, out of the weights that are there")
    template = with_methods(replace(base, graphs=()), added, wanted)
    try:
        with beside(folder) as part:
            files = write(template, folder, part, known)
            for path in part.iterdir():
                os.replace(path, folder / path.name)
            write_manifest(folder, listing(read_manifest(folder), template, files))  # last: until now nobody looked at them
    except KeyError as error:
        raise BundleError(
            f"the graphs of {quoted(wanted)} hold more than is left in this bundle ({error.args[0]}); make it again, which "
            f"brings them: `vlscore pull {asked_for(folder, manifest)} --force`"
        ) from None
    except OSError as error:
        raise BundleError(f"methods cannot be added to `{folder}`: {error.strerror or error}") from error


def with_chosen(base: Template, name: str, names: str | None) -> Template:
    """A backbone's template with the graphs of the methods asked for; where none are named, of all that it has."""
    added = open_methods(name) if base.manifest["precision"] == "fp32" else None
    if added is not None:
        tower: Tower = "resnet" if base.manifest["maps"]["source"] == "bottleneck" else "vit"
        return with_methods(base, added, offered(added, names or "all", tower))
    if names in (None, "none"):
        return base
    raise BundleError(
        f"there is no template of the methods of {name} in {base.manifest['precision']}; leave `--methods` out, and add them "
        "with PyTorch: `python -m export.methods`"
    )


def offered(added: Template, names: str, tower: Tower) -> Sequence[str]:
    """The methods asked for; refuses those that there is no template of."""
    have = added.manifest["methods"]
    asked = list(have) if names.strip() == "all" else named(names, tower)
    lacking = [name for name in asked if name not in have]
    if lacking:
        raise BundleError(f"there is no template of {quoted(lacking)}; add with PyTorch: `python -m export.methods`")
    return asked


def named(names: str, tower: Tower) -> Sequence[str]:
    """The methods that are meant; raises `ArgumentError` where there are no such."""
    try:
        return [method.name for method in named_methods(names, tower)]
    except MethodError as error:
        raise ArgumentError(str(error)) from None


def write(template: Template, folder: Path, part: Path, known: Known) -> dict[str, FileInfo]:
    """Write the graphs of methods into another folder than the bundle's; gives what was written."""
    maps = template.manifest["maps"]
    made = cell_tensors((maps["height"], maps["width"]))
    tensors = ChainMap(made, BundleTensors(folder, known, template.expects))  # type: ignore[arg-type] # never written to
    with GraphWriter(part, tensors, known) as writer:
        for graph in template.graphs:
            writer.write(graph)
    return {name: FileInfo((part / name).stat().st_size, found) for name, found in writer.hashes.items()}


def fitting(folder: Path, manifest: Manifest, wanted: str) -> tuple[Template, Template, Known]:
    """The template that a bundle was made by, or might have been, that of its methods, and where its tensors lie."""
    if manifest.precision != "fp32":
        raise BundleError(f"methods have no template in {manifest.precision}; with PyTorch: {with_pytorch(folder, wanted)}")
    for name in (manifest.backbone, manifest.backbone + QUICK):  # only the graphs tell the activation
        base = open_template(name) if name in shipped() else None
        known = None if base is None else known_in(folder, base)
        if base is None or known is None:
            continue
        added = open_methods(name)
        if added is None:
            raise BundleError(f"there is no template of the methods of {name}; with PyTorch: {with_pytorch(folder, wanted)}")
        return base, added, known
    raise BundleError(
        f"`{folder}` is not as this version makes it; make it again: `vlscore pull {asked_for(folder, manifest)} --force`, or "
        f"add methods with PyTorch: {with_pytorch(folder, wanted)}"
    )


def listing(manifest: Manifest, template: Template, files: dict[str, FileInfo]) -> Manifest:
    """The manifest with further methods."""
    described = template.manifest
    new = {graph.name: from_json(GraphInfo, described["graphs"][graph.name], graph.name) for graph in template.graphs}
    infos = {name: from_json(MethodInfo, info, name) for name, info in described["methods"].items()}
    return replace(
        manifest,
        graphs=manifest.graphs | new,
        methods=manifest.methods | infos,
        files=dict(sorted({**manifest.files, **files}.items())),
    )


def have_templates(manifest: Manifest) -> bool:
    """Whether the package has the methods of a bundle's backbone."""
    return manifest.precision == "fp32" and not {manifest.backbone, manifest.backbone + QUICK}.isdisjoint(with_methods_shipped())


def how_to_add(folder: Path, manifest: Manifest, names: str) -> str:
    """The command that adds methods to a bundle: without PyTorch where there are templates of them."""
    if have_templates(manifest):
        return f"`vlscore pull {asked_for(folder, manifest)} --methods {names}`"
    return with_pytorch(folder, names)


def asked_for(folder: Path, manifest: Manifest) -> str:
    """What `vlscore pull` is given for the bundle in a folder."""
    entry = lookup(folder.name)
    if entry is not None and folder == bundle_home() / entry.name:
        return entry.name
    return f"{manifest.backbone} --out {folder}"


def with_pytorch(folder: Path, names: str) -> str:
    """The way that is left."""
    return f"`python -m export.methods {folder} --methods {names}`"
