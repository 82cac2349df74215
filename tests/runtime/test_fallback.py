"""Behind the masked graph: smaller batches on a full card, float32 for lost numbers, both told and counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.manifest import TEXT_HALF
from runtime import Localizer
from runtime.backends.fallback import FallbackSession
from runtime.backends.session import Arrays, HostSession, Outputs, Pending
from runtime.bundles import open_bundle
from runtime.errors import DeviceMemoryError, DeviceWarning
from tests.configs import photo
from tests.conftest import MakeBundle

FULL = DeviceMemoryError("the card is full")


class Double(HostSession):
    """Gives twice each map's first value; remembers its batches."""

    def __init__(self, lost: float | None = None) -> None:
        self.batches: list[int] = []
        self.lost = lost

    def run(self, inputs: Arrays) -> Outputs:
        self.batches.append(len(inputs["which"]))
        found = 2 * inputs["maps"][:, :1, 0] + inputs["pixels"][inputs["which"], :1, 0, 0]
        if self.lost is not None:
            found = np.where(inputs["maps"][:, :1, 0] == self.lost, np.nan, found)
        return {"embeddings": found.astype(np.float32)}


class Crowded(HostSession):
    """Has no memory: at once, or only when it is waited for."""

    def __init__(self, late: bool) -> None:
        self.late, self.tries = late, 0

    def run(self, inputs: Arrays) -> Outputs:
        raise FULL

    def start(self, inputs: Arrays) -> Pending:
        self.tries += 1
        if not self.late:
            raise FULL

        def pending() -> Outputs:
            raise FULL

        return pending


def batch(count: int = 8) -> dict[str, np.ndarray[Any, Any]]:
    return {
        "pixels": np.array([10, 20], np.uint8).reshape(2, 1, 1, 1),
        "which": (np.arange(count) % 2).astype(np.int64),
        "maps": np.arange(count, dtype=np.float32).reshape(count, 1, 1),
    }


@pytest.mark.parametrize("late", [False, True])
def test_a_full_card_goes_on_in_pieces_and_says_so_once(late: bool) -> None:
    crowded, small = Crowded(late), Double()
    session = FallbackSession(crowded, small=(small, 2))
    with pytest.warns(DeviceWarning, match="going on with 2 passes per run") as warned:
        found = [session.run(batch()) for _ in range(2)]
    assert len(warned) == 1
    for one in found:
        np.testing.assert_array_equal(one["embeddings"], Double().run(batch())["embeddings"])
    assert (small.batches, crowded.tries, session.shrunk) == ([2] * 8, 1, True)


@pytest.mark.parametrize("late", [False, True])
def test_without_a_smaller_graph_the_error_stands(late: bool) -> None:
    with pytest.raises(DeviceMemoryError, match="the card is full"):
        FallbackSession(Crowded(late), full=Double()).run(batch())


def test_lost_numbers_are_run_again_in_float32_and_counted() -> None:
    session = FallbackSession(Double(lost=3.0), full=Double())
    np.testing.assert_array_equal(session.run(batch())["embeddings"], Double().run(batch())["embeddings"])
    assert session.retried == 1
    session.run(batch(3))  # without the map that is lost
    assert session.retried == 1


def test_without_float32_lost_numbers_are_handed_on_to_be_refused() -> None:
    assert np.isnan(FallbackSession(Double(lost=3.0), small=(Double(), 2)).run(batch())["embeddings"]).any()


@pytest.fixture(scope="module")
def large(make_bundle: MakeBundle) -> Path:
    """A bundle for cards: large batch, half precision, everything behind it."""
    return make_bundle("tiny-rn", "tiny-large", precision="fp16", batch=64, retry=True)


def test_a_bundle_for_cards_brings_both(large: Path) -> None:
    localizer = Localizer(large, device="cpu")
    graphs = localizer.manifest.graphs
    assert graphs["masked-small"].inputs["maps"][1][0] == 16
    assert graphs["masked-fp32"].inputs["maps"][1][0] == 64
    assert (localizer.info["shrunk"], localizer.info["retried"]) == (False, 0)


def test_scenes_are_the_same_by_the_smaller_graph_and_nearly_by_float32(large: Path, tiny_localizer: Localizer) -> None:
    localizer = Localizer(large, device="cpu")
    expected = localizer.encode(photo("cat"))
    masked = localizer.encoder.sessions["masked"]
    masked.shrunk = True
    np.testing.assert_allclose(localizer.encode(photo("cat")).embeddings, expected.embeddings, atol=2e-3)
    masked.shrunk, masked.masked = False, Lost(masked.masked)
    found = localizer.encode(photo("cat"))
    assert localizer.info["retried"] == -(-int(found.live.sum()) // 64)  # the base was known already
    np.testing.assert_allclose(found.embeddings, tiny_localizer.encode(photo("cat")).embeddings, atol=2e-2)


class Lost(HostSession):
    """A graph whose numbers overflow."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def run(self, inputs: Arrays) -> Outputs:
        return {name: np.full_like(value, np.inf) for name, value in self.inner.run(inputs).items()}


def test_fast_runs_the_smaller_graph(large: Path) -> None:
    bundle = open_bundle(large)
    graphs = {name: graph for name, graph in bundle.manifest.graphs.items() if name != "masked-fp32"}
    localizer = Localizer(replace(bundle, manifest=replace(bundle.manifest, graphs=graphs)), device="cpu", preset="fast")
    assert (localizer.encoder.batch, localizer.plan.refine) == (16, 32)
    found = localizer(photo("cat"), "a cat")
    assert found.passes == 32
    assert localizer.encoder.sessions["masked"].masked.opened is None
    assert Localizer(large, device="cpu", preset="fast").encoder.batch == 64  # its float32 stand-in takes whole batches


def test_small_bundles_bring_neither(tiny_localizer: Localizer) -> None:
    assert set(tiny_localizer.manifest.graphs) == {"image", "masked", "instant", *TEXT_HALF}
    assert "retried" not in tiny_localizer.info
