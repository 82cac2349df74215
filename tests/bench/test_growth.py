"""Growth curves: the fits on made-up seconds, the whole command on a small model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.growth.command import main
from bench.growth.curves import curve, doubling, line, power


def test_fits_find_what_was_put_in() -> None:
    amounts = [1, 2, 4, 8]
    assert line(amounts, [3 + 2 * n for n in amounts]) == pytest.approx((2, 3))
    assert power(amounts, [5 * n**1.5 for n in amounts]) == pytest.approx(1.5)
    assert line([4], [2.0]) == (0.5, 0)
    assert np.isnan(power([4], [2.0]))


def test_amounts_double_up_to_the_last() -> None:
    assert doubling(10) == [1, 2, 4, 8, 10]
    assert doubling(8, 2) == [2, 4, 8]
    assert doubling(1) == [1]


def test_every_amount_is_warmed_up_and_timed_in_rounds() -> None:
    order: list[int] = []
    found = curve("made", "things", {n: (lambda n=n: order.append(n)) for n in (1, 2)}, repeats=2)
    assert order == [1, 2, 1, 2, 1, 2]
    assert [seconds.count for seconds in found.seconds] == [2, 2]


def test_the_whole_command(tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = ["--json", str(tmp_path / "growth.json"), "--plot", str(tmp_path / "growth.png")]
    bundles = ["--bundles", str(tiny_bundle)]
    main(["--model", str(tiny_bundle), "--pictures", "2", "--queries", "8", *bundles, *files])
    assert "how seconds grow" in capsys.readouterr().out
    record = json.loads((tmp_path / "growth.json").read_text())
    assert [found["name"] for found in record["curves"]] == ["maps", "pictures", "queries", "batch", "threads"]
    assert (tmp_path / "growth.png").stat().st_size > 1000


def test_what_is_missing_is_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(["--model", "no-such-model"])
    assert "no bundle named `no-such-model`" in capsys.readouterr().err
