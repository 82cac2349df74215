"""The TensorRT backend on stand-ins of both majors: right numbers, every refusal told, stale engines never tried."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from runtime import Localizer, devices
from runtime.backends.graph_hash import graph_hash
from runtime.backends.tensorrt import EngineOptions, TensorRTBackend, backend
from runtime.backends.tensorrt.build import EngineError, build_plan
from runtime.backends.tensorrt.cache import EngineCache
from runtime.backends.tensorrt.driver import CudaDriver, EngineTarget
from runtime.backends.tensorrt.session import IDLE
from runtime.errors import DeviceError, DeviceMemoryError, DeviceWarning
from tests.configs import photo
from tests.trt.drive import drive, feed, small_graph, wanted
from tests.trt.fake_cuda import FakeCard, Misuse
from tests.trt.fake_trt import Fake

MAJORS = (10, 11)


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path / "home"))


def opened(major: int = 11, *fails: str, **options: object) -> tuple[TensorRTBackend, Fake, FakeCard]:
    card = FakeCard()
    fake = Fake(major, card, *fails)
    return TensorRTBackend(trt=fake, driver=card, **options), fake, card


@pytest.mark.parametrize("major", MAJORS)
def test_the_whole_drive(tmp_path: Path, major: int) -> None:
    drive(backend, tmp_path, major)


@pytest.mark.parametrize("major", MAJORS)
def test_a_localizer_on_it_answers_as_on_the_cpu(
    tiny_bundle: Path, tiny_localizer: Localizer, monkeypatch: pytest.MonkeyPatch, major: int
) -> None:
    backend, fake, _ = opened(major)
    monkeypatch.setitem(devices.OPENERS, "tensorrt", lambda threads: backend)
    ours = Localizer(tiny_bundle, device="tensorrt")
    assert (ours.device, ours.info["backend"]) == ("tensorrt", backend.detail)
    questions = ["a cat", "a dog", "a red bus"]
    for found, expected in zip(ours(photo("cat"), questions), tiny_localizer(photo("cat"), questions), strict=True):
        assert (found.present, found.kept) == (expected.present, expected.kept)
        np.testing.assert_allclose(found.map, expected.map, atol=1e-5)
        np.testing.assert_allclose(found.xyxy, expected.xyxy, atol=1.01)
    assert len(fake.builds) == 4  # image, masked, text, saliency


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("parse", r"cannot read .*INVALID_NODE at Resize `node_resize`: antialias is not supported"),
        ("build", "built no engine of .*no tactic was found"),
        ("deserialize", "just built: the plan is of another version"),
        ("context", "no execution context"),
        ("address", "refused the memory of `pixels`"),
        ("shapes", "shapes are open for pixels"),
        ("enqueue", "refused to run"),
    ],
)
def test_every_none_and_false_is_an_error_with_its_reason(tmp_path: Path, fault: str, message: str) -> None:
    backend, _, _ = opened(11, fault)
    with pytest.raises(EngineError, match=message):
        backend.open(small_graph(tmp_path))


def test_a_graph_that_cannot_be_captured_runs_without_and_says_so(tmp_path: Path) -> None:
    backend, _, card = opened(11, "capture")
    with pytest.warns(DeviceWarning, match="cannot be captured as a CUDA graph and runs without"):
        session = backend.open(small_graph(tmp_path))
    assert card.graphs == {}
    for seed in range(3):
        np.testing.assert_array_equal(session.run(feed(seed))["embeddings"], wanted(small_graph(tmp_path), feed(seed)))


def test_runs_are_started_while_another_is_waited_for(tmp_path: Path) -> None:
    backend, _, card = opened()
    session = backend.open(small_graph(tmp_path))
    first = session.start(feed(0))
    card.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(first)
        assert card.waited_for.wait(10)
        second = session.start(feed(1))  # the card is not done, and nothing is locked
        card.gate.set()
        np.testing.assert_array_equal(waiting.result()["embeddings"], wanted(small_graph(tmp_path), feed(0)))
    np.testing.assert_array_equal(second()["embeddings"], wanted(small_graph(tmp_path), feed(1)))


def test_threads_that_run_at_once_get_their_own_answers(tmp_path: Path) -> None:
    session = opened()[0].open(small_graph(tmp_path))
    feeds = [feed(seed) for seed in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for inputs, found in zip(feeds, pool.map(session.run, feeds), strict=True):
            np.testing.assert_array_equal(found["embeddings"], wanted(small_graph(tmp_path), inputs))


def test_a_scene_after_another_costs_an_upload_and_makes_nothing(tmp_path: Path) -> None:
    backend, fake, card = opened()
    session, graph = backend.open(small_graph(tmp_path)), small_graph(tmp_path)
    rest = {name: feed(0)[name] for name in ("which", "scale")}
    session.hold({"pixels": feed(0)["pixels"]}).run(rest)
    there, sent = (fake.contexts, card.left()), card.uploaded
    for seed in range(1, 4):
        held = session.hold({"pixels": feed(seed)["pixels"]})
        again = held.hold({"scale": feed(seed)["scale"]}) if seed == 3 else held  # other names: a session of its own
        found = again.run({name: value for name, value in rest.items() if name not in again.held})
        np.testing.assert_array_equal(found["embeddings"], wanted(graph, {**rest, **again.held}))
        if seed < 3:
            assert (fake.contexts, card.left()) == there
            assert card.uploaded - sent == seed * sum(value.nbytes for value in feed(0).values())
        del held, again


def test_sessions_that_wait_for_a_scene_are_few_and_those_in_use_are_nobody_elses(tmp_path: Path) -> None:
    backend, fake, _ = opened()
    session, graph = backend.open(small_graph(tmp_path)), small_graph(tmp_path)

    def ask(seed: int) -> None:
        pixels, rest = feed(seed)["pixels"], {name: feed(0)[name] for name in ("which", "scale")}
        held = session.hold({"pixels": pixels})
        for _ in range(3):
            np.testing.assert_array_equal(held.run(rest)["embeddings"], wanted(graph, {**rest, "pixels": pixels}))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(ask, range(24)))
    (idle,) = session.idle.values()
    assert 1 <= len(idle) <= IDLE
    assert fake.contexts <= 1 + 24


def test_runs_that_fail_cost_no_staging_memory(tmp_path: Path) -> None:
    backend, fake, _ = opened(11, "capture")
    with pytest.warns(DeviceWarning):
        session = backend.open(small_graph(tmp_path))
    fake.fails.add("enqueue")
    for _ in range(3):  # more often than there are staging sets
        with pytest.raises(EngineError, match="refused to run"):
            session.run(feed(0))
    fake.fails.clear()
    np.testing.assert_array_equal(session.run(feed(0))["embeddings"], wanted(small_graph(tmp_path), feed(0)))


def test_the_log_keeps_the_last_errors_and_gives_them_once(tmp_path: Path) -> None:
    backend, fake, _ = opened()
    backend.open(small_graph(tmp_path))  # thousands of lines, none of them an error
    assert len(backend.log.lines) == 0
    for number in range(9):
        backend.log.log(fake.ILogger.Severity.ERROR, f"fault\n{number}")
    assert backend.log.take_errors() == "fault 6 | fault 7 | fault 8"
    assert backend.log.take_errors() == "TensorRT gave no reason"


def test_parser_errors_carry_code_operator_and_node(tmp_path: Path) -> None:
    with pytest.raises(EngineError) as caught:
        build_plan(Fake(10, FakeCard(), "parse"), small_graph(tmp_path), EngineOptions())
    assert caught.value.nodes == (("INVALID_NODE", "Resize", "node_resize"),)


def test_tf32_is_there_on_request_alone(tmp_path: Path) -> None:
    backend, fake, _ = opened(options=EngineOptions(tf32=True, level=5))
    backend.open(small_graph(tmp_path))
    assert fake.builds == [{"flags": {"TF32"}, "level": 5}]


@pytest.mark.parametrize("content", [b"", b"learnt", b"another card"])
def test_the_timing_cache_is_used_or_begun_anew(tmp_path: Path, content: bytes) -> None:
    found = build_plan(Fake(11, FakeCard()), small_graph(tmp_path), EngineOptions(), content)
    assert found.timing_cache == (b"learnt" if content == b"learnt" else b"learnt here")


def test_inputs_of_another_type_or_shape_are_refused(tmp_path: Path) -> None:
    session = opened()[0].open(small_graph(tmp_path))
    good = feed(0)
    for name, value, message in (
        ("scale", np.float64(1.0), "must be float32"),
        ("which", np.zeros(3, np.int64), r"must be int64 \(4,\)"),
        ("pixels", None, "`pixels`, which was not given"),
    ):
        bad = {key: item for key, item in {**good, name: value}.items() if item is not None}
        with pytest.raises(DeviceError, match=message):
            session.run({key: np.asarray(item) for key, item in bad.items()})
    np.testing.assert_array_equal(session.run(good)["embeddings"], wanted(small_graph(tmp_path), good))


def test_too_little_memory_is_told_as_such_and_nothing_stays(tmp_path: Path) -> None:
    card = FakeCard(limit=9_000)
    backend = TensorRTBackend(trt=Fake(11, card), driver=card)
    with pytest.raises(DeviceMemoryError):
        backend.open(small_graph(tmp_path))
    assert card.left() == {"memory": 0, "pinned": 0, "streams": 0, "graphs": 0, "events": 0}


class TestEngines:
    """The folder of engines."""

    def kept(self, tmp_path: Path, major: int = 11) -> tuple[Path, TensorRTBackend, Fake]:
        backend, fake, _ = opened(major)
        backend.open(small_graph(tmp_path))
        (plan,) = backend.cache.folder.glob("*.plan")
        return plan, backend, fake

    def test_the_description_says_what_it_was_built_for(self, tmp_path: Path) -> None:
        plan, _, _ = self.kept(tmp_path)
        about = json.loads(plan.with_suffix(".json").read_text())
        assert about["bytes"] == plan.stat().st_size
        assert about["key"]["target"] == {"name": "Test Card", "capability": "9.0", "cuda": "13.0"}
        assert about["key"]["graph"] == graph_hash(tmp_path / "masked.onnx")
        assert plan.stat().st_mode & 0o077 == 0

    def test_other_weights_are_another_engine(self, tmp_path: Path) -> None:
        _, backend, fake = self.kept(tmp_path)
        path = tmp_path / "masked.onnx"
        path.write_bytes(path.read_bytes().replace(np.float32(0.125).tobytes(), np.float32(4).tobytes()))
        session = backend.open(path)
        np.testing.assert_array_equal(session.run(feed(0))["embeddings"], wanted(path, feed(0)))
        assert len(fake.builds) == 2

    def test_weights_beside_the_graph_count(self, tmp_path: Path) -> None:
        graph, weights = tmp_path / "masked.onnx", tmp_path / "image.onnx.weights"
        graph.write_bytes(b"... image.onnx.weights ...")
        weights.write_bytes(b"one")
        first = graph_hash(graph)
        weights.write_bytes(b"two")
        assert graph_hash(graph) != first
        (tmp_path / "text.onnx.weights").write_bytes(b"not named in it")
        weights.write_bytes(b"one")
        assert graph_hash(graph) == first

    @pytest.mark.parametrize("harm", ["plan", "sidecar", "key"])
    def test_harmed_engines_are_built_anew_never_tried(self, tmp_path: Path, harm: str) -> None:
        plan, backend, fake = self.kept(tmp_path)
        sidecar = plan.with_suffix(".json")
        if harm == "plan":
            plan.write_bytes(plan.read_bytes()[:-7])
        elif harm == "sidecar":
            sidecar.write_text("{")
        else:
            sidecar.write_text(sidecar.read_text().replace("Test Card", "Other Card"))
        said: list[str] = []
        backend.report = said.append
        backend.open(tmp_path / "masked.onnx")
        assert len(fake.builds) == 2
        assert len(said) == 1

    def test_where_building_is_not_allowed_the_reason_is_told(self, tmp_path: Path) -> None:
        self.kept(tmp_path)
        other, fake, card = opened(10, policy="refuse")
        with pytest.raises(DeviceError, match="there is one for another TensorRT, and engines are not built on first use"):
            other.open(tmp_path / "masked.onnx")
        card.identity = EngineTarget("New Card", "12.0", "13.0")
        moved = TensorRTBackend(trt=Fake(11, card), driver=card, policy="refuse")
        with pytest.raises(DeviceError, match="another card or CUDA"):
            moved.open(tmp_path / "masked.onnx")
        assert fake.builds == []

    def test_a_folder_that_others_may_write_to_is_refused(self, tmp_path: Path) -> None:
        folder = tmp_path / "shared"
        folder.mkdir()
        folder.chmod(0o777)
        with pytest.raises(DeviceError, match="an engine is code"):
            EngineCache(folder)

    def test_an_engine_of_the_other_major_is_never_loaded(self, tmp_path: Path) -> None:
        self.kept(tmp_path, 10)
        backend, fake, _ = opened(11)
        backend.open(tmp_path / "masked.onnx")
        assert len(fake.builds) == 1


class TestMissing:
    """What is not there is told, with the repair."""

    def test_no_tensorrt(self) -> None:
        with pytest.raises(DeviceError, match=r"asked for `tensorrt`; found no TensorRT.*pip install 'vlscore\[tensorrt\]'"):
            TensorRTBackend()

    def test_an_unknown_major(self) -> None:
        card = FakeCard()
        fake = Fake(11, card)
        fake.__version__ = "9.3.0"
        with pytest.raises(DeviceError, match=r"found TensorRT 9\.3\.0"):
            TensorRTBackend(trt=fake, driver=card)

    def test_the_real_bindings_tell_of_a_missing_card(self) -> None:
        bindings = pytest.importorskip("cuda.bindings.runtime")
        if int(bindings.cudaGetDeviceCount()[0]) == 0:
            pytest.skip("there is a card here")
        with pytest.raises(DeviceError, match=r"found no NVIDIA card that can be used\. Cause: cudaError"):
            CudaDriver()

    def test_lower_precision_is_not_made_up(self, tmp_path: Path) -> None:
        with pytest.raises(DeviceError, match="asked for bf16 on `tensorrt`"):
            opened()[0].open(small_graph(tmp_path), "bf16")


@pytest.mark.parametrize("major", MAJORS)
def test_the_stand_in_refuses_what_its_version_does_not_document(major: int) -> None:
    fake = Fake(major, FakeCard())
    log = type("Log", (fake.ILogger,), {"log": lambda *given: None})()
    with pytest.raises(AttributeError, match="build_engine"):
        _ = fake.Builder(log).build_engine
    assert hasattr(fake.Builder(log), "platform_has_fast_fp16") is False
    with pytest.raises(Misuse):
        fake.Builder(log).create_network(0)
    assert ("FP16" in fake.BuilderFlag.__members__) is (major == 10)
