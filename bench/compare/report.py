"""What the terminal shows."""

from __future__ import annotations

from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.compare.rows import Row

NOTES = """\
Medians over the rounds, with half the distance between the quartiles. ~ marks seconds reckoned from the rate and the
passes that a picture takes; the others are whole pictures. GFLOP/s: the encoder's own arithmetic, counted by PyTorch on
the plain tower, so a way that folds some of it away does less than is counted; best: share of the fastest matrix
product of this machine in that precision. memory: peak of the way's
own process; >= where it never ran a whole picture (--whole). off: how far its scores are from the oracle's on a sample
of maps, as a share of their size, before the clock."""

QUIET = 0.05  # of all cores' time may go to others
BUSY = (
    "other work took {:.0%} of this machine's time: ways whose threads wait for each other (PyTorch's do) suffer far more from "
    "it than others, so these ratios mean little; measure again when the machine is quiet"
)


def show(console: Console, record: dict[str, Any]) -> None:
    """Print every table of a record."""
    rows = [Row.from_dict(values) for values in record["ways"]]
    console.print(speed_table(record, rows))
    console.print(NOTES, style="dim", soft_wrap=True)
    if record["machine"]["busy"] > QUIET:
        console.print(f"[bold red]{BUSY.format(record['machine']['busy'])}[/]", soft_wrap=True)
    for row in rows:
        if row.reason:
            console.print(f"[bold]{row.title}[/]: not run: {row.reason}", soft_wrap=True)
        elif row.agreement and row.agreement.get("note"):
            console.print(f"[dim]{row.title}: {row.agreement['note']}[/]", soft_wrap=True)
    if any(row.whole for row in rows):
        console.print(whole_table(rows))
    if record["queries"]:
        console.print(queries_table(record["queries"]))
    if record["cold"]:
        console.print(cold_table(record["cold"]))
    console.print(f"[dim]{caption(record)}[/]", soft_wrap=True)


def speed_table(record: dict[str, Any], rows: list[Row]) -> Table:
    """All ways, in their order."""
    job, best = record["job"], record["matrix_best_gflops"]
    rates = ", ".join(f"{value:.0f} {kind}" for kind, value in best.items())
    title = f"{job['backbone']}: {job['live_maps']} live maps of {job['gflop_per_pass']} GFLOP; matrices at best {rates} GFLOP/s"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    table.add_column("way")
    for name in ("passes/s", "s per picture", "faster", "GFLOP/s", "best", "memory, MiB", "off"):
        table.add_column(name, justify="right")
    slowest = baseline(rows)
    for row in rows:
        table.add_row(row.title, *cells(row, slowest), style="bold" if row.ours else "")
    return table


def cells(row: Row, slowest: float | None) -> tuple[str, ...]:
    """The numbers of one row as they are shown."""
    if row.reason:
        return ("not run", *[""] * 6)
    off = "" if not row.agreement or not row.agreement["checked"] else f"{row.agreement['deviation']:.1e}"
    return (
        with_spread(row.passes_per_s),
        ("~" if row.derived and not row.whole else "") + seconds_cell(row),
        times(row, slowest),
        "" if row.gflops is None else f"{row.gflops:.0f}",
        "" if row.share is None else f"{row.share:.0%}",
        "" if row.peak_mib is None else ("" if row.peak_whole or not row.derived else ">= ") + f"{row.peak_mib:.0f}",
        off,
    )


def picture_seconds(row: Row) -> float | None:
    """Seconds per picture: of a whole one where it was run, else reckoned; rounds of whole pictures come first."""
    if row.whole and row.derived:
        return float(row.whole["seconds"])
    return row.seconds_per_picture[0] if row.seconds_per_picture else None


def seconds_cell(row: Row) -> str:
    """Seconds with their spread; one whole picture has none."""
    value = picture_seconds(row)
    if value is None:
        return ""
    return short(value) if row.whole and row.derived else with_spread(row.seconds_per_picture)


def baseline(rows: list[Row]) -> float | None:
    """Seconds of the published way, which all others are held against."""
    return next((picture_seconds(row) for row in rows if row.name == "published"), None)


def times(row: Row, slowest: float | None) -> str:
    """How many times faster than the published way."""
    value = picture_seconds(row)
    return f"{short(slowest / value)} x" if slowest and value else ""


def with_spread(values: list[float] | None) -> str:
    """A median and half of its spread."""
    return "" if values is None else f"{short(values[0])} ± {short((values[2] - values[1]) / 2)}"


def short(value: float) -> str:
    """Three significant digits, without an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 1e-3 else f"{value:.2g}"


def whole_table(rows: list[Row]) -> Table:
    """Whole pictures: what came out, beside the published way's answer."""
    table = Table(title="one whole picture each", box=SIMPLE_HEAD, title_justify="left")
    names = ("seconds", "passes", "kept", "flips", "boxes", "box_agreement", "max_score_difference", "max_saliency_difference")
    table.add_column("way")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        if row.whole:
            table.add_row(row.title, *(str(row.whole.get(name, "")) for name in names))
    return table


def queries_table(queries: dict[str, dict[str, float]]) -> Table:
    """What a further query costs."""
    several = int(next(iter(queries.values()))["several"])
    table = Table(title="further queries on an encoded picture, ms", box=SIMPLE_HEAD, title_justify="left")
    for name in ("way", "1, new words", "1, known words", f"{several}, new words", f"{several}, known words"):
        table.add_column(name, justify="left" if name == "way" else "right")
    for name, figures in queries.items():
        keys = ("one_new_ms", "one_known_ms", "several_new_ms", "several_known_ms")
        table.add_row(name, *(short(figures[key]) for key in keys))
    return table


def cold_table(starts: dict[str, dict[str, float]]) -> Table:
    """What a fresh interpreter costs."""
    table = Table(title="a fresh interpreter, s", box=SIMPLE_HEAD, title_justify="left")
    for name in ("side", "import", "open and verify", "load"):
        table.add_column(name, justify="left" if name == "side" else "right")
    for side, steps in starts.items():
        table.add_row(side, *(short(value) for value in steps.values()))
    return table


def caption(record: dict[str, Any]) -> str:
    """The machine and the day, in one line."""
    machine, job = record["machine"], record["job"]
    versions: dict[str, str] = {}
    for row in record["ways"]:
        versions.update(row.get("versions", {}))
    libraries = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    flags = f" ({', '.join(machine['flags'])})" if machine["flags"] else ""
    return (
        f"{machine['processor']}{flags}, {machine['threads']} threads of {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{machine['system']}, Python {machine['python']}, {libraries}; weights `{job['pretrained']}`, `{job['picture']}`, "
        f"spec `{job['spec']}`, {job['rounds']} rounds of {job['passes']} passes; {machine['date']}, commit {machine['commit']}"
    )
