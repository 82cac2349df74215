"""What the terminal shows."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from bench.accuracy.figures import TITLES
from bench.accuracy.presence import SIGNALS, Presence
from bench.accuracy.run import Results, SplitFigures
from bench.accuracy.search import Best, Trial
from bench.accuracy.statistics import Estimate
from bench.terminal import make_table
from engine.spec import Spec

BOXES = ("gt_known", "first_box", "top1_loc", "top5_loc", "box_iou", "confused")
OTHERS = ("pixel_miou", "pxap", "peak_iou", "pointing", "top1", "top5")
MERITS = ("threshold", "GT-known", "first box", "box IoU")
NOTES = """\
All figures in %, with half of the 95 % interval: Wilson's for shares, a bootstrap over pictures for the rest.
GT-known: any box overlaps any true box of the noun asked for by more than 0.5 (the published protocol). first box: the
same for the box ranked first. Top-k Loc: found, and fewer than k nouns that the picture does not show suit it better.
top-k: any of the k nouns that suit the picture best is one that it shows. confused: the first box overlaps something
else more. mIoU: saliency above the spec's threshold against the visible pixels. pointing: its brightest pixel hits."""


def show(console: Console, results: Results) -> None:
    """Print every table that the results have something for."""
    for spec in dict.fromkeys(one.spec for one in results.splits):
        splits = [one for one in results.splits if one.spec == spec]
        console.print(figures_table(f"{spec.name}: {described(spec)}", splits, BOXES))
        console.print(figures_table(f"{spec.name}: pixels, and words for the whole picture", splits, OTHERS))
    console.print(NOTES, style="dim", soft_wrap=True)
    console.print()
    if results.best:
        console.print(switches_table(results.best, results.published))
    if results.geometries:
        console.print(figures_table("geometry, on `wide`", results.geometries, BOXES, by="geometry"))
    if results.wordings:
        table = make_table("words, on `val`", ["templates", *MERITS, "against chosen"])
        for one in results.wordings:
            table.add_row(one.templates, *merits(one.trial), signed(one.lead))
        console.print(table)
    if results.presence:
        console.print(presence_table(results.presence))
    about, steps = results.about, ", ".join(f"{name} {value:.0f} s" for name, value in results.seconds.items())
    console.print(
        f"{about['model']} ({about['precision']}) on {about['device']}: {about['passes']} passes; {steps}", soft_wrap=True
    )


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


def figures_table(title: str, splits: Sequence[SplitFigures], keys: Sequence[str], by: str = "split") -> Table:
    """Rows of splits, or of geometries, with some of the figures."""
    table = make_table(title, [by, "queries", *(TITLES[key] for key in keys)])
    for one in splits:
        cells = [percent(one.figures.estimates[key]) if key in one.figures.estimates else "-" for key in keys]
        table.add_row(one.split if by == "split" else one.spec.geometry, str(one.figures.queries), *cells)
    return table


def merits(trial: Trial) -> list[str]:
    """The columns MERITS."""
    merit = trial.merit
    shares = (merit.gt_known, merit.first_box, merit.box_iou)
    return [f"{trial.spec.threshold:.2f}", *(f"{100 * value:.1f}" for value in shares)]


def signed(lead: Estimate) -> str:
    """A difference in points with its interval."""
    return f"{100 * lead.value:+.1f} [dim]({100 * lead.low:+.1f} to {100 * lead.high:+.1f})[/]"


def switches_table(best: Best, published: Best | None) -> Table:
    """What each switch is worth around the chosen spec, and the best setting of the published way."""
    table = make_table("chosen on `val`: one switch changed at a time", ["switch", "value", *MERITS, "against chosen"])
    last = ""
    for row in best.switches:
        lead = "[bold]chosen[/]" if row.chosen else signed(row.lead)
        table.add_row(row.switch if row.switch != last else "", f"{row.value}", *merits(row.trial), lead)
        last = row.switch
    if published:
        table.add_section()
        table.add_row("paper", f"t = {published.trial.spec.temperature:.4g}", *merits(published.trial), "")
    return table


def presence_table(presence: Presence) -> Table:
    """Signals of presence, and the two rules."""
    table = make_table("present or absent, on `absent`: area under the curve of each signal", ["signal", "AUC"])
    table.add_column("", no_wrap=True)
    for name, curve in presence.curves.items():
        table.add_row(name, percent(curve.area), f"[dim]{SIGNALS[name]}[/]")
    for rule, words in ((presence.any_map, "any map above the base"), (presence.by_margin, "best map above it by {:.2f}")):
        table.add_section()
        table.add_row("says `present`", percent(rule.present), f"[dim]of what is there ({words.format(rule.margin)})[/]")
        table.add_row("", percent(rule.false_alarms), "[dim]of what is not there[/]")
    return table
