"""What the terminal shows of a record, and the documents' tables: all of it made from the record alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.compare.record import Record, Row, rows_of
from bench.compare.targets import verdicts
from bench.terminal import make_table

NOTES = """\
Medians over the rounds, with half the distance between the quartiles. ~ marks seconds reckoned from the rate and the
passes that a picture takes; the others are whole pictures. GFLOP/s: the encoder's own arithmetic, counted by PyTorch on
the plain tower, so a contender that folds some of it away does less than is counted; best: share of the fastest matrix
product of this device in that precision. memory: peak of the contender's own process; >= where it never ran a whole
picture (--whole). off: how far its scores are from the oracle's on a sample of maps, as a share of their size, before
the clock."""

QUIET = 0.05  # of all cores' time may go to others
BUSY = (
    "other work took {:.0%} of this machine's time: contenders whose threads wait for each other (PyTorch's do) suffer far more "
    "from it than others, so these ratios mean little; measure again when the machine is quiet"
)
BASELINE = {True: "torch", False: "published"}  # what all others are held against: on a card, and on a processor
MARKERS = {True: ("<!-- gpu:begin -->", "<!-- gpu:end -->"), False: ("<!-- speed-all:begin -->", "<!-- speed-all:end -->")}


def show(console: Console, record: Record) -> None:
    """Print every table of a record."""
    rows = rows_of(record)
    console.print(speed_table(record, rows))
    console.print(NOTES, style="dim", soft_wrap=True)
    if record["machine"]["busy"] > QUIET:
        console.print(f"[bold red]{BUSY.format(record['machine']['busy'])}[/]", soft_wrap=True)
    for row in rows:
        if row.reason:
            console.print(f"[bold]{row.title}[/]: not run: {row.reason}", soft_wrap=True)
        elif row.agreement and row.agreement.get("note"):
            console.print(f"[dim]{row.title}: {row.agreement['note']}[/]", soft_wrap=True)
    for precision, outcome in record["bundles"].items():
        if outcome != "built":
            console.print(f"bundle in {precision}: {outcome}", soft_wrap=True, markup=False)
    if any(row.whole for row in rows):
        console.print(whole_table(rows))
    for line in (*query_lines(record), *start_lines(record), *verdicts(record)):
        console.print(f"{line}.", soft_wrap=True)
    console.print(f"[dim]{caption(record)}[/]", soft_wrap=True)


def speed_table(record: Record, rows: list[Row]) -> Table:
    """All contenders, in their order."""
    task, best = record["task"], record["matrix_best_gflops"]
    rates = ", ".join(f"{short(value)} {kind}" for kind, value in best.items())
    title = (
        f"{task['backbone']}: {task['live_maps']} live maps of {task['gflop_per_pass']} GFLOP; matrices at best {rates} GFLOP/s"
    )
    table = make_table(title, ("contender", "passes/s", "s per picture", "faster", "GFLOP/s", "best", "memory, MiB", "off"))
    slowest = baseline(record, rows)
    for row in rows:
        table.add_row(row.title, *cells(row, slowest), style="bold" if row.ours else "")
    return table


def cells(row: Row, slowest: float | None) -> tuple[str, ...]:
    """The numbers of one row as they are shown."""
    if row.reason:
        return ("not run", *[""] * 6)
    seconds = row.picture_seconds()
    spread = None if row.whole and row.derived else row.seconds_per_picture  # one whole picture has none
    return (
        with_spread(row.passes_per_s),
        "" if seconds is None else ("~" if row.reckoned else "") + (with_spread(spread) or short(seconds)),
        times(row, slowest),
        "" if row.gflops is None else f"{row.gflops:.0f}",
        "" if row.share is None else f"{row.share:.0%}",
        memory(row, ">= "),
        "" if not row.agreement or not row.agreement["checked"] else f"{row.agreement['deviation']:.1e}",
    )


def whole_table(rows: list[Row]) -> Table:
    """Whole pictures: what came out, beside the published way's answer."""
    names = ("seconds", "passes", "kept", "flips", "boxes", "box_agreement", "max_score_difference", "max_saliency_difference")
    table = make_table("one whole picture each", ("contender", *(name.replace("_", " ") for name in names)))
    for row in rows:
        if row.whole:
            table.add_row(row.title, *(str(row.whole.get(name, "")) for name in names))
    return table


def markdown(record: Record) -> str:
    """The table in Markdown, with its caption and what was not run."""
    rows, task, machine = rows_of(record), record["task"], record["machine"]
    if machine["busy"] > QUIET:
        raise ValueError(BUSY.format(machine["busy"]))
    run, slowest = [row for row in rows if not row.reason], baseline(record, rows)
    card = any("device_mib" in row.extra for row in run)
    head = ["", "computes", "passes/s", "seconds per picture", "faster", "peak memory", *(["on the card"] if card else [])]
    lines = [f"{task['backbone']}, {task['live_maps']} live maps, one picture; contenders taking turns in one run.", ""]
    lines += [f"| {' | '.join(head)} |".replace("|  |", "| |"), "|" + "---|" * len(head)]
    for row in run:
        seconds, bold = row.picture_seconds(), "**" if row.ours else ""
        shown = "" if seconds is None else f"{bold}{'~' if row.reckoned else ''}{short(seconds)}{bold}"
        rate = "" if row.passes_per_s is None else short(row.passes_per_s[0])
        there = [f"{bold}{row.title}{bold}", row.computes, rate, shown, times(row, slowest), memory(row, "≥ ", " MiB")]
        held = [f"{row.extra['device_mib']:.0f} MiB" if "device_mib" in row.extra else ""] if card else []
        lines.append(f"| {' | '.join([*there, *held])} |")
    lines += ["", "~: reckoned from the rate. ≥: peak of some passes, not of a whole picture. Ours in bold."]
    first = [line for line in (next(query_lines(record), ""), next(start_lines(record), "")) if line]
    lines += [f"{line}." for line in (*first, *verdicts(record))]
    missing = [f"{row.title} ({row.reason})" for row in rows if row.reason]
    if missing:
        lines.append(f"Not run: {'; '.join(missing)}.")
    return "\n".join([*lines, "", f"<sub>{caption(record)}</sub>"])


def write_table(root: Path, record: Record) -> Path:
    """Put the table between its markers, in whichever of the README and the pages of `docs/` they are."""
    begin, _ = MARKERS[record["task"]["device"] != "cpu"]
    pages = [
        page for page in (root / "README.md", *sorted(root.glob("docs/**/*.md"))) if begin in page.read_text(encoding="utf-8")
    ]
    if len(pages) != 1:
        raise ValueError(f"`{begin}` must stand on one page of README.md and docs/, found it on {len(pages)}")
    pages[0].write_text(with_table(pages[0].read_text(encoding="utf-8"), record), encoding="utf-8")
    return pages[0]


def with_table(text: str, record: Record) -> str:
    """A page's text with the table between its markers; raises `ValueError` where they are not, once each, or it was busy."""
    begin, end = MARKERS[record["task"]["device"] != "cpu"]
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"the page must hold `{begin}` and after it `{end}`, once each; put them where the table belongs")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{markdown(record)}\n{end}{rest.partition(end)[2]}"


def query_lines(record: Record) -> Iterator[str]:
    """What asking again costs, by contender; the first is the one that the documents tell of."""
    for place, (name, figures) in enumerate(record["queries"].items()):
        known, new = short(figures["one_known_ms"]), short(figures["one_new_ms"])
        all_known, all_new = (short(figures[f"several_{words}_ms"] / 1000) for words in ("known", "new"))
        yield (
            f"A further query on an encoded picture, boxes included{f', {name}' if place else ''}: {known} ms in known words, "
            f"{new} ms in new ones; {int(figures['several'])} of them: {all_known} s and {all_new} s"
        )


def start_lines(record: Record) -> Iterator[str]:
    """What a fresh interpreter costs, ours and PyTorch's."""
    seconds = {name: short(sum(steps.values())) for name, steps in record["starts"].items()}
    torch = seconds.pop("torch", None)
    for place, (name, ours) in enumerate(seconds.items()):
        other = f" (PyTorch with open_clip: {torch} s)" if torch else ""
        yield f"From a fresh interpreter to a loaded model{f', {name}' if place else ''}: {ours} s{other}"


def baseline(record: Record, rows: list[Row]) -> float | None:
    """Seconds of the contender that all others are held against."""
    name = BASELINE[record["task"]["device"] != "cpu"]
    return next((row.picture_seconds() for row in rows if row.name == name), None)


def times(row: Row, slowest: float | None) -> str:
    """How many times faster than the baseline."""
    value = row.picture_seconds()
    return f"{short(slowest / value)} x" if slowest and value else ""


def memory(row: Row, at_least: str, unit: str = "") -> str:
    """Peak memory, marked where it is not of a whole picture."""
    return "" if row.peak_mib is None else f"{'' if row.peak_whole or not row.derived else at_least}{row.peak_mib:.0f}{unit}"


def with_spread(values: list[float] | None) -> str:
    """A median and half of its spread."""
    return "" if values is None else f"{short(values[0])} ± {short((values[2] - values[1]) / 2)}"


def short(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 1e-3 else f"{value:.2g}"


def caption(record: Record) -> str:
    """The device, the libraries and the day, in one line."""
    machine, task, card = record["machine"], record["task"], record["card"]
    versions: dict[str, str] = {}
    for row in rows_of(record):
        versions.update(row.versions)
    libraries = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    turns = f"{task['passes']} passes" if task["passes"] else "whole pictures"
    on_card = f"{card['name']}, driver {card.get('driver')}, CUDA {card.get('cuda')}; " if card.get("name") else ""
    return (
        f"{on_card}{machine['processor']}{flags}, {machine['threads']} threads of {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {machine['system']}, Python {machine['python']}, {libraries}; "
        f"weights `{task['pretrained']}`, `{task['picture']}`, spec `{task['spec']}`, {task['rounds']} rounds of {turns}; "
        f"{machine['date']}, commit {machine['commit']}"
    )


def draw_bars(record: Record, file: Path) -> Path:
    """Draw the bars on a logarithmic scale; what was reckoned is hatched."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = [row for row in rows_of(record) if row.picture_seconds()][::-1]
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.34 * len(rows)), layout="constrained")
    for place, row in enumerate(rows):
        seconds, reckoned, shade = row.picture_seconds() or 0.0, row.reckoned, "tab:blue" if row.ours else "0.65"
        axes.barh(place, seconds, color=shade, hatch="//" if reckoned else None, edgecolor="white", linewidth=0)
        axes.text(seconds * 1.08, place, f"{'~' if reckoned else ''}{short(seconds)} s", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [row.title for row in rows], fontsize=8)
    axes.set_xscale("log")
    axes.set_xmargin(0.12)
    axes.set_xlabel("seconds per picture (hatched: reckoned from passes per second)")
    task, machine = record["task"], record["machine"]
    device = record["card"].get("name") or f"{machine['threads']} threads of {machine['processor']}"
    axes.set_title(f"{task['backbone']}, {task['live_maps']} maps, {device}", fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=130)
    plt.close(figure)
    return file
