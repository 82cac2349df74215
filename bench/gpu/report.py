"""What the terminal shows, and the table of docs/nvidia.md: both made from the record alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.compare.report import BUSY, QUIET, short
from bench.compare.rows import Row

BEGIN, END = "<!-- gpu:begin -->", "<!-- gpu:end -->"
HEAD = ("way", "passes/s", "ms per picture", "of the card's best", "card, MiB", "host, MiB", "off")


def show(console: Console, record: dict[str, Any]) -> None:
    """Print everything of a record that a reader acts on."""
    table = Table(title=title(record), box=SIMPLE_HEAD, title_justify="left")
    for name in HEAD:
        table.add_column(name, justify="left" if name == "way" else "right")
    for row in (Row.from_dict(values) for values in record["ways"]):
        if not row.reason:
            table.add_row(*cells(row))
    console.print(table)
    for line in (*failures(record), *notes(record), *(target_line(target) for target in record["targets"])):
        console.print(line, soft_wrap=True, markup=False)
    if record["machine"]["busy"] > QUIET:
        console.print(f"[bold red]{BUSY.format(record['machine']['busy'])}[/]", soft_wrap=True)


def failures(record: dict[str, Any]) -> list[str]:
    """Parts, bundles and ways that could not be had, and why."""
    lines = [f"{part['name']} {part['state']}: {part['reason']}" for part in record["parts"] if part["state"] != "done"]
    lines += [f"bundle in {kind}: {outcome}" for kind, outcome in record["bundles"].items() if outcome != "built"]
    rows = [Row.from_dict(values) for values in record["ways"]]
    return [*lines, *(f"{row.title}: not timed: {row.reason}" for row in rows if row.reason)]


def title(record: dict[str, Any]) -> str:
    """What was measured on what."""
    job, card = record["job"], record["card"]
    maps = f", {job['live_maps']} live maps of {job['gflop_per_pass']} GFLOP" if "live_maps" in job else ""
    return f"{Path(job['backbone']).stem}{maps}, batches of {job['batch']}; {card.get('name') or 'no card'}"


def cells(row: Row) -> tuple[str, ...]:
    """One way that was timed."""
    seconds = row.seconds_per_picture
    return (
        row.title,
        "" if row.passes_per_s is None else short(row.passes_per_s[0]),
        "" if seconds is None else f"{short(1000 * seconds[0])} ± {short(500 * (seconds[2] - seconds[1]))}",
        "" if row.share is None else f"{row.share:.0%}",
        short(row.extra["device_mib"]) if "device_mib" in row.extra else "",
        "" if row.peak_mib is None else f"{row.peak_mib:.0f}",
        f"{row.agreement['deviation']:.1%}" if row.agreement and row.agreement["checked"] else "",
    )


def notes(record: dict[str, Any]) -> list[str]:
    """Matrix rates, further queries, starts and faithfulness, a line each."""
    lines = []
    if record["matrix_best_gflops"]:
        rates = ", ".join(f"{kind} {value / 1000:.3g}" for kind, value in record["matrix_best_gflops"].items())
        lines.append(f"Matrix products and 3 x 3 convolutions in PyTorch, at best, TFLOP/s: {rates}.")
        lines.append(
            "Of the card's best: the plain encoder's arithmetic, counted by PyTorch, per second, as a share of the best matrix "
            "product in that precision; a way that folds some of it away does less than is counted."
        )
    for name, told in record["queries"].items():
        one, more = short(told["one_known_ms"]), short(told["several_known_ms"])
        lines.append(f"Further queries, {name}: one {one} ms, {int(told['several'])} of them {more} ms.")
    for name, told in record["cold"].items():
        lines.append(f"A fresh interpreter, {name}: {told if isinstance(told, str) else steps(told)}.")
    for device, told in record["faithful"].items():
        lines.append(f"The shipped model on {device}: {told.get('reason') or faith(told)}.")
    return lines


def steps(told: dict[str, float]) -> str:
    """The steps of a fresh interpreter."""
    return ", ".join(f"{key.removesuffix('_s').replace('_', ' ')} {short(value)} s" for key, value in told.items())


def faith(told: dict[str, Any]) -> str:
    """What differs between a device and the oracle."""
    return (
        f"{told['pictures']} pictures, {told['flips']} of {told['compared']} maps change sides of the base, largest score error "
        f"{told['largest_score_error']:.2g}, boxes agree to {told['mean_box_agreement']:.4g}"
    )


def target_line(target: dict[str, Any]) -> str:
    """One target and its verdict."""
    found = "" if target["found"] is None else f", found {short(target['found'])}"
    by = f" ({target['by']})" if target["by"] else ""
    return f"Target {target['target']}, {short(target['wanted'])}: {target['verdict']}{found}{by}"


def markdown(record: dict[str, Any]) -> str:
    """The table with what belongs to it."""
    rows = [Row.from_dict(values) for values in record["ways"]]
    run = [row for row in rows if not row.reason]
    if not run:
        raise ValueError("this record holds no way that was timed; run `python -m bench.gpu` on a machine with a card")
    lines = [
        f"{title(record)}; ways taking turns in one run.",
        "",
        f"| {' | '.join(('', *HEAD[1:]))} |",
        "|" + "---|" * len(HEAD),
    ]
    for row in run:
        first, *rest = cells(row)
        lines.append(f"| {f'**{first}**' if row.ours else first} | {' | '.join(rest)} |")
    lines += ["", *(f"* {line}" for line in notes(record)), *(f"* {target_line(target)}" for target in record["targets"])]
    missing = [f"{row.title} ({row.reason})" for row in rows if row.reason]
    if missing:
        lines.append(f"* Not timed: {'; '.join(missing)}.")
    return "\n".join([*lines, "", f"<sub>{caption(record)}</sub>"])


def caption(record: dict[str, Any]) -> str:
    """The machine, the libraries and the day."""
    machine, card, job = record["machine"], record["card"], record["job"]
    libraries = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
    driver = f", driver {card['driver']}, CUDA {card['cuda']}" if "driver" in card else ""
    return (
        f"{card.get('name')}{driver}; {machine['processor']}, {machine['threads']} threads; {libraries}; spec `{job['spec']}`, "
        f"{job['rounds']} rounds; {machine['date']}, commit {machine['commit']}"
    )


def with_table(text: str, record: dict[str, Any]) -> str:
    """A page's text with the table between its markers; raises `ValueError` when it cannot be."""
    if record["machine"]["busy"] > QUIET:
        raise ValueError(BUSY.format(record["machine"]["busy"]))
    if record["job"]["device"] == "cpu":
        raise ValueError("this record was made on a processor, to try the script; the table is for cards")
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the page must hold `{BEGIN}` and after it `{END}`, once each; put them where the table belongs")
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{markdown(record)}\n{END}{rest.partition(END)[2]}"


def write_table(page: Path, record: dict[str, Any]) -> None:
    """Put the table between the markers."""
    page.write_text(with_table(page.read_text(encoding="utf-8"), record), encoding="utf-8")
