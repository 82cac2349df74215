"""The command `doctor`: what this machine can run, why not, and what repairs it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime import __version__
from runtime.backends.onnx_cpu import installed_wheels
from runtime.bundles import DEFAULT_MODEL, bundle_home
from runtime.cli.bundle_reports import BundleReport, bundles
from runtime.devices import AS_SAID, Finding, findings
from runtime.machine import Machine, look

PREFIX = "VLSCORE_"
GIGABYTE = 1e9


@dataclass(frozen=True)
class Diagnosis:
    """Everything that `doctor` looks at."""

    vlscore: str
    usable: bool
    machine: Machine
    onnxruntime: dict[str, str]  # version by wheel
    devices: list[Finding]
    home: str
    bundles: list[BundleReport]
    default_model: str
    default_model_found: bool
    variables: dict[str, str]


def run(as_json: bool, verify: bool) -> int:
    """Examine and print; 0 when at least one device can be used."""
    diagnosis = examine(verify)
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(diagnosis), indent=2))
    else:
        show(diagnosis)
    return 0 if diagnosis.usable else 1


def examine(verify: bool) -> Diagnosis:
    """Look at everything, without loading a model."""
    devices, shelf = findings(), bundles(verify)
    return Diagnosis(
        vlscore=__version__,
        usable=any(finding.usable for finding in devices),
        machine=look(),
        onnxruntime={wheel: importlib.metadata.version(wheel) for wheel in installed_wheels()},
        devices=devices,
        home=str(bundle_home()),
        bundles=shelf,
        default_model=DEFAULT_MODEL,
        default_model_found=any(bundle.name == DEFAULT_MODEL for bundle in shelf),
        variables={name: value for name, value in sorted(os.environ.items()) if name.startswith(PREFIX)},
    )


def show(diagnosis: Diagnosis) -> None:
    """Print the sections."""
    console = Console(highlight=False)
    section(console, f"vlscore {diagnosis.vlscore}", machine_rows(diagnosis))
    section(console, "devices", map(device_row, diagnosis.devices))
    section(console, f"bundles in {diagnosis.home}", bundle_rows(diagnosis))
    if diagnosis.variables:
        section(console, "settings", ([name, Text(value)] for name, value in diagnosis.variables.items()))


def section(console: Console, title: str, rows: Iterable[list[str | Text]]) -> None:
    """Print a heading and its rows, indented."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row("", *row)
    console.print(Text(title, "bold"), soft_wrap=True)
    console.print(table)
    console.print()


def machine_rows(diagnosis: Diagnosis) -> Iterable[list[str | Text]]:
    """Names and values about the machine."""
    machine = diagnosis.machine
    wheels = ", ".join(f"{name} {version}" for name, version in diagnosis.onnxruntime.items())
    yield ["python", Text(f"{machine.python}, {machine.executable}")]
    yield ["platform", Text(machine.platform)]
    yield ["processor", Text(machine.processor)]
    yield ["cores", cores(machine)]
    yield ["instructions", instructions(machine)]
    yield ["memory", f"{size(machine.memory_free)} free of {size(machine.memory_total)}"]
    yield ["onnx runtime", wheels or Text("not installed", "yellow")]


def cores(machine: Machine) -> Text:
    """How many cores there are, may be used, and are used."""
    if machine.threads is None:
        return Text(machine.threads_fault, "red")
    quota = "" if machine.quota is None else f", quota {machine.quota:g}"
    return Text(
        f"{machine.allowed} of {machine.cores} allowed{quota}; {machine.threads} {plural('thread', machine.threads)} used"
    )


def instructions(machine: Machine) -> Text:
    """Which of the instruction sets that matter the processor has; the lacking ones are dim."""
    if machine.flags is None:
        return Text("not told by this system", "dim")
    there = [flag for flag, has in machine.flags.items() if has]
    lacking = [flag for flag, has in machine.flags.items() if not has]
    return Text.assemble(" ".join(there), (f"  lacks {' '.join(lacking)}" if lacking else "", "dim"))


def device_row(finding: Finding) -> list[str | Text]:
    """A device, whether it can be used, and why or what to do."""
    if finding.usable:
        return [finding.device, Text("usable", "green"), Text(finding.detail)]
    if finding.repair == AS_SAID:
        return [finding.device, Text("no", "yellow"), Text(finding.detail)]
    told = Text.assemble(f"{finding.detail}\n", ("repair: ", "dim"), finding.repair)
    return [finding.device, Text("no", "yellow"), told]


def bundle_rows(diagnosis: Diagnosis) -> Iterable[list[str | Text]]:
    """The bundles, and what to do when there is none to start with."""
    for bundle in diagnosis.bundles:
        name = Text.assemble(bundle.name, (" (shipped)" if bundle.shipped else "", "dim"))
        if bundle.fault:
            yield [name, Text("broken", "red"), Text(bundle.fault)]
            continue
        weights = bundle.weights if bundle.trained else "random weights"
        about = f"{bundle.backbone}, {weights}, {bundle.precision}, {bundle.bytes / 1e6:.0f} MB"
        yield [
            name,
            Text("verified" if bundle.verified else "complete", "green"),
            Text.assemble(
                f"{about}{limits(bundle)}\n",
                ("auto: ", "dim"),
                f"{bundle.tuned}\n",
                ("sha256: ", "dim"),
                bundle.sha256,
                overflow="fold",
            ),
        ]
    if not diagnosis.default_model_found:
        yield [
            Text(diagnosis.default_model),
            Text("missing", "yellow"),
            Text.assemble(
                "the default model; name another with --model, or build one\n",
                ("repair: ", "dim"),
                "python -m export.build --backbone RN50",
            ),
        ]


def limits(bundle: BundleReport) -> str:
    """What a bundle cannot do."""
    return ", saved scenes only (no image half)" if bundle.scenes_only else ""


def size(count: int | None) -> str:
    """Bytes for people."""
    return "unknown" if count is None else f"{count / GIGABYTE:.1f} GB"


def plural(word: str, count: int) -> str:
    """A word for one or several."""
    return word if count == 1 else f"{word}s"
