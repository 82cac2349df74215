"""What the terminal shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.accuracy.figures import TITLES
from bench.accuracy.presence import TITLES as SIGNALS
from bench.accuracy.presence import Presence
from bench.accuracy.results import Line, Results, Wording
from bench.accuracy.statistics import Estimate
from bench.accuracy.sweep import Search
from bench.accuracy.trials import Trial
from bench.accuracy.variants import Worth
from engine.spec import Spec

BOXES = ("gt_known", "first_box", "top1_loc", "top5_loc", "box_iou", "confused")
OTHERS = ("pixel_miou", "pxap", "peak_iou", "pointing", "top1", "top5")
NOTES = """\
All figures in %, with half of the 95 % interval: Wilson's for shares, a bootstrap over pictures for the rest.
GT-known: any box overlaps any true box of the noun asked for by more than 0.5 (the published protocol). first box: the
same for the box ranked first. Top-k Loc: found, and fewer than k nouns that the picture does not show suit it better.
top-k: any of the k nouns that suit the picture best is one that it shows. confused: the first box overlaps something
else more. mIoU: saliency above the spec's threshold against the visible pixels. pointing: its brightest pixel hits."""


def show(console: Console, results: Results) -> None:
    """Print every table that the results have something for."""
    for spec in dict.fromkeys(line.spec for line in results.lines):
        lines = [line for line in results.lines if line.spec == spec]
        console.print(figures_table(f"{spec.name}: {described(spec)}", lines, BOXES))
        console.print(figures_table(f"{spec.name}: pixels, and words for the whole picture", lines, OTHERS))
    console.print(NOTES, style="dim", soft_wrap=True)
    console.print()
    if results.search:
        console.print(switches_table(results.search))
    if results.geometries:
        console.print(figures_table("geometry, on `wide`", results.geometries, BOXES, by="geometry"))
    if results.wordings:
        console.print(wordings_table(results.wordings))
    if results.variants:
        console.print(variants_table(results.variants))
    if results.presence:
        console.print(presence_table(results.presence))


def described(spec: Spec) -> str:
    """A spec's switches in one line."""
    unit = "" if spec.score_space == "cosine" else " / logit scale"
    parts = [spec.geometry, f"temperature {spec.temperature:.4g}{unit}", spec.combine, f"contrast {spec.contrast:g}"]
    parts += [f"threshold {spec.threshold:g}", spec.resize, f"{spec.connectivity}-connected", f"area {spec.min_area:g}"]
    return ", ".join([*parts, f"{spec.order} order"])


def percent(estimate: Estimate) -> str:
    """A share in %, with the larger half of its interval."""
    reach = max(estimate.high - estimate.value, estimate.value - estimate.low)
    return f"{100 * estimate.value:.1f} [dim]±{100 * reach:.1f}[/]"


def table_of(title: str, columns: Iterable[str]) -> Table:
    """An empty table, its first column to the left and all others to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, header_style="dim", padding=(0, 1))
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place else "left", no_wrap=True)
    return table


def figures_table(title: str, lines: Sequence[Line], keys: Sequence[str], by: str = "split") -> Table:
    """Rows of splits, or of geometries, with some of the figures."""
    table = table_of(title, [by, "queries", *(TITLES[key] for key in keys)])
    for line in lines:
        cells = [percent(line.figures.estimates[key]) if key in line.figures.estimates else "-" for key in keys]
        table.add_row(line.split if by == "split" else line.spec.geometry, str(line.figures.queries), *cells)
    return table


def merits(trial: Trial) -> list[str]:
    """Threshold, GT-known, first box and box IoU."""
    merit = trial.merit
    shares = (merit.gt_known, merit.first_box, merit.box_iou)
    return [f"{trial.spec.threshold:.2f}", *(f"{100 * value:.1f}" for value in shares)]


MERITS = ("threshold", "GT-known", "first box", "box IoU")


def switches_table(search: Search) -> Table:
    """What each switch is worth around the chosen spec, and the best setting of the published way."""
    table = table_of("chosen on `val`: one switch changed at a time", ["switch", "value", *MERITS, "against chosen"])
    last = ""
    for row in search.rows:
        lead = "[bold]chosen[/]" if row.chosen else signed(row.lead)
        table.add_row(row.switch if row.switch != last else "", f"{row.value}", *merits(row.trial), lead)
        last = row.switch
    table.add_section()
    if search.paper:
        table.add_row("paper", f"t = {search.paper.spec.temperature:.4g}", *merits(search.paper), "")
    return table


def signed(lead: Estimate) -> str:
    """A difference in points with its interval."""
    return f"{100 * lead.value:+.1f} [dim]({100 * lead.low:+.1f} to {100 * lead.high:+.1f})[/]"


def wordings_table(wordings: Sequence[Wording]) -> Table:
    """Sets of templates."""
    table = table_of("words, on `val`", ["templates", *MERITS, "against chosen"])
    for one in wordings:
        table.add_row(one.templates, *merits(one.trial), signed(one.lead))
    return table


def variants_table(variants: Sequence[Worth]) -> Table:
    """Other contrasts, tuned on `val`."""
    columns = ["variant", "strength", "temperature", "contrast", *MERITS, "test GT-known"]
    table = table_of("other contrasts, tuned on `val`", columns)
    for worth in variants:
        spec = worth.trial.spec
        settings = [f"{worth.strength:g}", f"{spec.temperature:g}", f"{spec.contrast:g}"]
        table.add_row(worth.name, *settings, *merits(worth.trial), percent(worth.test) if worth.test else "-")
    return table


def presence_table(presence: Presence) -> Table:
    """Signals of presence."""
    table = table_of("present or absent, on `absent`: area under the curve of each signal", ["signal", "AUC"])
    table.add_column("", no_wrap=True)
    for name, curve in presence.curves.items():
        table.add_row(name, percent(curve.area), f"[dim]{SIGNALS[name]}[/]")
    for rule, words in ((presence.any_map, "any map above the base"), (presence.by_margin, "best map above it by {:.2f}")):
        table.add_section()
        table.add_row("says `present`", percent(rule.present), f"[dim]of what is there ({words.format(rule.margin)})[/]")
        table.add_row("", percent(rule.false_alarms), "[dim]of what is not there[/]")
    return table
