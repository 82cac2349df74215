"""The masked passes: full batches, constant maps skipped, the same embeddings however they are packed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.manifest import Manifest
from engine.spec import DEFAULT
from runtime import BundleError, Localizer, Scene
from runtime.backends.session import HostSession
from runtime.bundles import open_bundle
from runtime.encoder import SceneEncoder
from tests.configs import photo

if TYPE_CHECKING:
    from tests.conftest import MakeBundle

NAMES = ("astronaut", "cat", "coffee", "rocket")
Pixels = NDArray[np.uint8]


def picture(live: int, colour: int = 100) -> Pixels:
    """A picture of one colour; the fake model below sees as many live maps in it as its green says."""
    return np.full((20, 30, 3), (colour, live, 7), dtype=np.uint8)


@dataclass
class FakeImage(HostSession):
    """Gives maps that are live as often as the picture's green says, the others constant."""

    manifest: Manifest
    runs: int = 0

    def run(self, inputs: Any) -> dict[str, NDArray[np.float32]]:
        self.runs += 1
        info, pixel = self.manifest.maps, inputs["pixels"][0, 0, 0]
        maps = np.full((info.count, info.height, info.width), 3.0, dtype=np.float32)
        maps[: pixel[1], 0, 0] = 5 + np.arange(min(pixel[1], info.count))
        return {"maps": maps, "embedding": direction(pixel[0], self.manifest.dim)}


@dataclass
class FakeMasked(HostSession):
    """An embedding that tells which picture and which map it was made of."""

    manifest: Manifest
    batches: list[int] = field(default_factory=list)  # live passes of each run

    def run(self, inputs: Any) -> dict[str, NDArray[np.float32]]:
        shapes = {name: (str(array.dtype), array.shape) for name, array in inputs.items()}
        assert shapes == self.manifest.graphs["masked"].inputs
        colours = inputs["pixels"][inputs["which"], 0, 0, 0]
        marks = inputs["maps"][:, 0, 0]
        self.batches.append(int((marks != 0).sum()))
        return {"embeddings": np.stack([direction(c + 10 * m, self.manifest.dim) for c, m in zip(colours, marks, strict=True)])}


def direction(number: float, dim: int) -> NDArray[np.float32]:
    """A unit vector for a number."""
    vector = np.random.default_rng(int(number)).normal(size=dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


@dataclass
class Fakes:
    """An encoder on fake sessions."""

    manifest: Manifest
    image: FakeImage
    masked: FakeMasked
    encoder: SceneEncoder


@pytest.fixture
def fakes(tiny_bundle: Path) -> Fakes:
    """40 maps of 3 x 3 in batches of 7."""
    manifest = open_bundle(tiny_bundle).manifest
    masked = manifest.graphs["masked"]
    inputs = {**masked.inputs, "which": ("int64", (7,)), "maps": ("float32", (7, 3, 3))}
    graphs = {**manifest.graphs, "masked": replace(masked, inputs=inputs)}
    manifest = replace(manifest, maps=replace(manifest.maps, raw=40, count=40), batch=7, graphs=graphs)
    image, fake_masked = FakeImage(manifest), FakeMasked(manifest)
    return Fakes(manifest, image, fake_masked, SceneEncoder(manifest, {"image": image, "masked": fake_masked}, DEFAULT))


def check(scene: Scene, live: int, colour: int = 100) -> None:
    """Every live map has its own embedding, every constant one the base's."""
    assert (int(scene.live.sum()), scene.passes) == (live, live)
    dim = scene.embeddings.shape[1]
    for index in range(len(scene.maps)):
        expected = direction(colour + 10 * (5 + index), dim) if index < live else scene.base
        np.testing.assert_array_equal(scene.embeddings[index], expected)


@pytest.mark.parametrize("live", [1, 6, 7, 8, 14, 39, 40])
def test_only_live_maps_are_run(fakes: Fakes, live: int) -> None:
    check(next(fakes.encoder.encode([picture(live)])), live)
    assert sum(fakes.masked.batches) == live
    assert len(fakes.masked.batches) == math.ceil((live + 1) / 7)  # the base is one row more


@pytest.mark.parametrize("lives", [[40, 40, 40], [3, 3, 3], [10, 0, 5, 40, 1], [0, 0, 9], [7, 7], [1] * 9, [6, 2], [13, 13]])
def test_passes_of_several_pictures_share_batches(fakes: Fakes, lives: list[int]) -> None:
    pictures = [picture(live, colour) for colour, live in enumerate(lives)]
    scenes = list(fakes.encoder.encode(pictures))
    for colour, (scene, live) in enumerate(zip(scenes, lives, strict=True)):
        check(scene, live, colour)
    assert fakes.image.runs == len(lives)
    if min(lives) >= 7:  # smaller ones may leave room, since a batch shows two pictures at most
        assert len(fakes.masked.batches) in (math.ceil((sum(lives) + 1) / 7), math.ceil((sum(lives) + 2) / 7))


@dataclass
class Busy(HostSession):
    """A card: what is started is done when somebody waits for it."""

    inner: FakeMasked
    log: list[str] = field(default_factory=list)

    def run(self, inputs: Any) -> dict[str, NDArray[np.float32]]:
        return self.start(inputs)()

    def start(self, inputs: Any) -> Any:
        number = sum(line.startswith("start") for line in self.log)
        self.log.append(f"start {number}")

        def pending() -> dict[str, NDArray[np.float32]]:
            self.log.append(f"wait {number}")
            return self.inner.run(inputs)

        return pending


@pytest.mark.parametrize("lives", [[20], [40, 40], [3, 3, 3], [10, 0, 5, 40, 1], [0], [1] * 9])
def test_on_a_card_the_next_batch_is_packed_while_one_is_under_way(fakes: Fakes, lives: list[int]) -> None:
    card, told = Busy(fakes.masked), list[tuple[int, int]]()
    encoder = SceneEncoder(fakes.manifest, {"image": fakes.image, "masked": card}, DEFAULT, overlap=True)
    list(encoder.encode([picture(0)]))  # the base is known from here on
    card.log.clear()
    pictures = [picture(live, colour) for colour, live in enumerate(lives)]
    for colour, (scene, live) in enumerate(zip(encoder.encode(pictures, lambda *pair: told.append(pair)), lives, strict=True)):
        check(scene, live, colour)
    batches = len(card.log) // 2
    waits = [line for line in card.log if line.startswith("wait")]
    assert waits == [f"wait {number}" for number in range(batches)]  # in order, each once
    if sum(lives) >= 20:
        assert card.log[:3] == ["start 0", "start 1", "wait 0"]
    assert not told or told[-1] == (sum(lives), sum(lives))


def test_on_cores_batches_follow_each_other(fakes: Fakes) -> None:
    cores = Busy(fakes.masked)
    encoder = SceneEncoder(fakes.manifest, {"image": fakes.image, "masked": cores}, DEFAULT)
    check(next(encoder.encode([picture(40)])), 40)
    assert cores.log == [f"{step} {number}" for number in range(6) for step in ("start", "wait")]


def test_the_base_is_run_once_for_all_pictures(fakes: Fakes) -> None:
    scenes = [next(fakes.encoder.encode([picture(5, colour)])) for colour in (1, 2, 3)]
    assert fakes.masked.batches == [5, 5, 5]
    assert all(np.array_equal(scene.base, scenes[0].base) for scene in scenes)
    np.testing.assert_array_equal(scenes[0].base, direction(1, fakes.manifest.dim))  # of a mask of zeros


def test_a_sample_of_maps_needs_no_batch_for_the_base(fakes: Fakes) -> None:
    first, second = (fakes.encoder.encode_maps(picture(5, colour), [0, 3]) for colour in (1, 2))
    assert fakes.masked.batches == [2, 2]
    np.testing.assert_array_equal(first.base, second.base)
    np.testing.assert_array_equal(first.base, next(fakes.encoder.encode([picture(5)])).base)
    np.testing.assert_array_equal(first.embeddings[1], first.base)  # not run
    assert not np.array_equal(first.embeddings[3], first.base)


def test_a_black_base_is_a_black_picture(fakes: Fakes) -> None:
    encoder = SceneEncoder(fakes.manifest, {"image": fakes.image, "masked": fakes.masked}, DEFAULT.replace(base="black"))
    scene = next(encoder.encode([picture(2)]))
    np.testing.assert_array_equal(scene.base, direction(0, fakes.manifest.dim))
    assert fakes.masked.batches == [2]


def test_pictures_are_read_no_sooner_than_needed(fakes: Fakes) -> None:
    read = []

    def pictures() -> Any:
        for colour in range(50):
            read.append(colour)
            yield picture(40, colour)

    scenes = fakes.encoder.encode(pictures())
    for done in range(5):
        next(scenes)
        assert len(read) <= done + 2


def test_no_pictures_are_no_scenes(fakes: Fakes) -> None:
    assert list(fakes.encoder.encode([])) == []
    assert fakes.masked.batches == []


@pytest.mark.parametrize("lives", [[40], [8], [40, 40], [12, 0, 40], [7, 0], [40, 3], [5, 0, 0]])
def test_progress_grows_and_ends_at_its_total(fakes: Fakes, lives: list[int]) -> None:
    told: list[tuple[int, int]] = []
    pictures = [picture(live, colour) for colour, live in enumerate(lives)]
    scenes = fakes.encoder.encode(pictures, lambda done, total: told.append((done, total)), expected=len(pictures))
    if len(lives) == 1:
        next(scenes)  # as `Localizer.encode` does
    else:
        assert len(list(scenes)) == len(lives)
    counts = [done for done, _ in told]
    assert counts == sorted(counts)
    assert all(0 < done <= total for done, total in told)
    assert told[-1] == (sum(lives), sum(lives))
    totals = [total for _, total in told]
    assert totals == sorted(totals, reverse=True)  # what is known at first is an upper bound
    assert totals[0] <= 40 * len(lives)


def test_progress_without_a_known_number_of_pictures(fakes: Fakes) -> None:
    told: list[tuple[int, int | None]] = []
    list(fakes.encoder.encode(iter([picture(10, 1), picture(20, 2)]), lambda done, total: told.append((done, total))))
    assert told[-1] == (30, 30)
    assert {total for _, total in told[:-1]} == {None}  # a total that grew with the work would say nothing


@dataclass
class Broken(HostSession):
    """A session one of whose outputs has gone wrong."""

    inner: Any
    output: str
    value: float

    def run(self, inputs: Any) -> dict[str, NDArray[np.float32]]:
        outputs = self.inner.run(inputs)
        outputs[self.output] = outputs[self.output].copy()
        outputs[self.output].flat[3] = self.value
        return dict(outputs)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("output", ["maps", "embedding", "embeddings"])
def test_what_is_not_a_number_is_refused(fakes: Fakes, output: str, value: float) -> None:
    graph = "masked" if output == "embeddings" else "image"
    fakes.encoder.sessions[graph] = Broken(getattr(fakes, graph), output, value)
    with pytest.raises(BundleError, match="hold NaN or infinity; build the bundle again"):
        next(fakes.encoder.encode([picture(5)]))


def test_what_is_not_a_number_is_refused_before_its_components(tiny_vit_bundle: Path) -> None:
    encoder = Localizer(tiny_vit_bundle, device="cpu").encoder
    encoder.sessions["image"] = Broken(encoder.sessions["image"], "maps", math.nan)
    with pytest.raises(BundleError, match="hold NaN or infinity"):
        next(encoder.encode([photo("cat")]))


@pytest.mark.parametrize("batch", [pytest.param(1, marks=pytest.mark.slow), 7, pytest.param(36, marks=pytest.mark.slow)])
def test_batch_size_does_not_change_the_embeddings(make_bundle: MakeBundle, tiny_vit_localizer: Localizer, batch: int) -> None:
    expected = tiny_vit_localizer.encode(photo("cat"))
    localizer = Localizer(make_bundle("tiny-vit", f"tiny-vit-by-{batch}", batch=batch), device="cpu", threads=2)
    assert localizer.manifest.graphs["masked"].inputs["maps"][1] == (batch, 4, 4)
    scene = localizer.encode(photo("cat"))
    np.testing.assert_array_equal(scene.maps, expected.maps)
    np.testing.assert_allclose(scene.embeddings, expected.embeddings, atol=1e-6)
    np.testing.assert_allclose(scene.base, expected.base, atol=1e-6)


def test_real_pictures_in_a_stream_are_those_encoded_alone(tiny_vit_localizer: Localizer) -> None:
    pictures = [photo(name) for name in NAMES[:3]]
    encoder, counted = tiny_vit_localizer.encoder, []
    inner = encoder.sessions["masked"]

    class Counted(HostSession):
        def run(self, inputs: Any) -> Any:
            counted.append(1)
            return inner.run(inputs)

    alone = [tiny_vit_localizer.encode(one) for one in pictures]
    fresh = SceneEncoder(tiny_vit_localizer.manifest, {**encoder.sessions, "masked": Counted()}, DEFAULT)
    together = list(fresh.encode(pictures))
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.maps, b.maps)
        np.testing.assert_array_equal(a.embedding, b.embedding)
        np.testing.assert_allclose(a.embeddings, b.embeddings, atol=1e-6)
    live = sum(int(scene.live.sum()) for scene in alone)
    assert live == 3 * 36
    assert len(counted) == math.ceil((live + 1) / 32)
