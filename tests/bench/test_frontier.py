"""The frontier and the oracle's comparison: exact against itself is perfect, fewer passes are counted, figures are kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench import frontier
from bench.faithful import compare, show, wanted
from bench.frontier import Way, answers, figures, main, ways
from bench.world.splits import Example
from bench.world.truth import from_json, to_runs
from export.weights import Loaded
from tests.runtime.samples import noise


def example(index: int) -> Example:
    """A picture of noise that claims to show a dog."""
    pixels = noise(48, 64)
    mask = np.zeros((48, 64), bool)
    mask[10:30, 20:40] = True
    things = [{"noun": "dog", "box": [20, 10, 40, 30], "runs": to_runs(mask)}]
    entry = {"split": "test", "index": index, "hw": [48, 64], "caption": "a dog", "absent": [], "things": things, "file": "x"}
    return from_json(entry, pixels)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return [example(0), example(1)]


def test_exact_agrees_with_itself_and_fewer_passes_are_told(tiny_bundle: Path, examples: list[Example]) -> None:
    exact = answers(Way("exact", str(tiny_bundle), {}), examples)
    same = figures("exact", exact, exact[0], examples)
    assert (same.agreement[0], same.flips, same.error, same.promised) == (1.0, 0.0, 0.0, 0.0)
    assert same.correlation == pytest.approx(1)
    few = answers(Way("few", str(tiny_bundle), {"preset": "fast", "passes": 4, "refine": 2}), examples)
    less = figures("few", few, exact[0], examples)
    assert less.passes == 6 < same.passes
    assert less.promised is not None
    assert less.promised > 0
    assert less.error > 0


def test_the_ways_begin_with_exact_and_hold_every_preset() -> None:
    named = ways("M", 512, ["other-int8"], ["bf16"])
    assert (named[0].name, named[0].options) == ("exact", {})
    assert {way.options.get("preset") for way in named} == {None, "fast", "instant"}
    assert [way.model for way in named[-2:]] == ["M", "other-int8"]


def test_the_command_writes_figures_and_a_plot(
    tiny_bundle: Path,
    examples: list[Example],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(frontier, "read_split", lambda folder, split: examples)
    chosen = [Way("exact", str(tiny_bundle), {}), Way("instant", str(tiny_bundle), {"preset": "instant"})]
    monkeypatch.setattr(frontier, "ways", lambda *_: chosen)
    main(["--model", str(tiny_bundle), "--json", str(tmp_path / "a.json"), "--plot", str(tmp_path / "a.png")])
    kept = json.loads((tmp_path / "a.json").read_text())
    assert [way["name"] for way in kept["ways"]] == ["exact", "instant"]
    assert kept["about"]["questions"] == 2
    assert (tmp_path / "a.png").stat().st_size > 1000
    assert "GT-known" in capsys.readouterr().out


def test_a_bundle_is_as_the_oracle_says(tiny_bundle: Path, loaded: Loaded, examples: list[Example]) -> None:
    theirs = wanted(loaded, examples[:1], "paper", 16)
    found = compare(str(tiny_bundle), examples[:1], theirs, "paper")
    assert (found.flips, found.pictures, found.same_box_count) == (0, 1, 1)
    assert found.compared > 0
    assert found.largest_score_error < 1e-5
    assert found.mean_box_agreement > 0.99
    broken = [theirs[0]._replace(scores=-theirs[0].scores, base_score=-theirs[0].base_score)]
    assert compare(str(tiny_bundle), examples[:1], broken, "paper").flips > 0
    show([found])
