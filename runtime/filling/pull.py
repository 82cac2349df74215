"""From a model's name, or a file, to its bundle: `vlscore pull`."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from engine.manifest import MANIFEST
from runtime.bundles import bundle_home
from runtime.filling.bundle import make_bundle
from runtime.filling.catalogue import Activation, lookup
from runtime.filling.hub import Say
from runtime.filling.methods import add_methods, with_chosen
from runtime.filling.origin import bundle_for, find_origin, weights_of
from runtime.filling.template import open_template
from runtime.logs import tell


def pull(  # noqa: PLR0913 - the options of the command
    asked: str,
    origin: str | None = None,
    *,
    activation: Activation | None = None,
    precision: str = "fp32",
    out: Path | None = None,
    force: bool = False,
    untrained: bool = False,
    methods: str | None = None,
    say: Say | None = None,
) -> Path:
    """Make the bundle of a model: from the weights that the catalogue has for it, or from those at `origin`; gives its folder.

    `methods` are names with commas between, `all` or `none`: those that the bundle gets, or that are added to one that is there.
    None: all that can be had without PyTorch, in a new one.
    """
    say = say or tell
    entry = lookup(asked)
    there = out or bundle_home() / in_precision(entry.name if entry else asked, precision)
    if origin is None and not force and (there / MANIFEST).is_file():
        if methods is None:
            say(f"{there} is there already; `--methods` adds methods to it, `--force` makes it again")
        else:
            add_methods(there, methods, say)
        return there
    if origin is None and entry is not None:  # what cannot be had is refused before anything is fetched
        with_chosen(open_template(entry.template, precision), entry.template, methods)
    started = time.perf_counter()
    weights = weights_of(asked, find_origin(asked, origin, say), activation)
    weights = replace(weights, precision=precision, trained=not untrained)
    target = out or bundle_home() / in_precision(bundle_for(asked, weights), precision)
    known = make_bundle(weights, target, methods)
    size = sum(path.stat().st_size for path in target.iterdir()) / 1e6
    say(f"{target.name}: {size:.0f} MB in {time.perf_counter() - started:.1f} s; {known}")
    return target


def in_precision(name: str, precision: str) -> str:
    """A bundle's name, with its precision where that is not the usual one."""
    return name if precision == "fp32" else f"{name}-{precision}"
