"""Each way of using TensorRT wrongly that the drive is there to catch, made on purpose: every one must be caught."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.trt.drive import drive

NAMES = ("driver", "build", "cache", "memory", "session", "backend")
MUTATIONS: dict[str, tuple[str, str, str]] = {
    "weak typing": ("build", 'return 1 << int(members["STRONGLY_TYPED"]) if "STRONGLY_TYPED" in members else 0', "return 0"),
    "the flag's number of one major in both": (
        "build",
        'return 1 << int(members["STRONGLY_TYPED"]) if "STRONGLY_TYPED" in members else 0',
        "return 1 << 1",
    ),
    "TF32 left on": ("build", "(config.set_flag if options.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)", "pass"),
    "half precision asked of the builder": (
        "build",
        "config.builder_optimization_level = options.level",
        "config.set_flag(trt.BuilderFlag.FP16)",
    ),
    "a foreign timing cache taken": (
        "build",
        "config.set_timing_cache(cache, False)",
        "config.set_timing_cache(cache, True)",
    ),
    "an old way to build": (
        "build",
        "builder.build_serialized_network(network, config)",
        "builder.build_engine(network, config)",
    ),
    "no logger of its own": ("build", "builder = trt.Builder(log)", "builder = trt.Builder(None)"),
    "no address": ("session", "if not self.context.set_tensor_address(name, pointer):", "if False:"),
    "shapes never inferred": ("session", "missing = self.context.infer_shapes()", "missing = []"),
    "no scratch memory": ("session", "self.context.set_device_memory(pointer, size)", "pass"),
    "too little scratch memory": (
        "session",
        "size = max(int(self.context.update_device_memory_size_for_shapes()), SCRATCH_ALIGNMENT)",
        "size = SCRATCH_ALIGNMENT",
    ),
    "memory left to TensorRT": (
        "session",
        "ExecutionContextAllocationStrategy.USER_MANAGED",
        "ExecutionContextAllocationStrategy.STATIC",
    ),
    "the default stream": ("session", "self.context.execute_async_v3(self.stream)", "self.context.execute_async_v3(0)"),
    "no warm-up before the recording": (
        "session",
        "        self.enqueue()\n        self.driver.synchronize(self.stream)\n",
        "",
    ),
    "recording while work is under way": (
        "session",
        "        self.enqueue()\n        self.driver.synchronize(self.stream)\n",
        "        self.enqueue()\n",
    ),
    "the recorded context run directly": (
        "session",
        "        if self.graph is None:\n            self.enqueue()",
        "        if True:\n            self.enqueue()",
    ),
    "outputs read before the run is over": ("session", "self.driver.wait_for_event(run.event)", "pass"),
    "one staging set for runs that overlap": (
        "session",
        "            return self.free.popleft()\n",
        "            return self.free[0]\n",
    ),
    "uploads from memory that is not pinned": (
        "session",
        "self.driver.upload(tensor.pointer, staging[name], self.stream)",
        "self.driver.upload(tensor.pointer, staging[name].copy(), self.stream)",
    ),
    "held inputs sent anyway": (
        "session",
        "self.engine, inputs, capture=self.capture)",
        "self.engine, {}, capture=self.capture)",
    ),
    "a session for every hold": ("session", "session = idle.pop()", "raise IndexError"),
    "what was held before stays": ("session", "            session.upload_held(inputs)", "            pass"),
    "a session given to the next while it is in use": (
        "session",
        "weakref.finalize(self, idle.append, session).atexit = False",
        "idle.append(session)",
    ),
    "nothing given back": ("session", "self.closing = weakref.finalize(self, self.resources.release)", "pass"),
    "opening on a thread with another card": ("backend", "        self.driver.select()\n        key =", "        key ="),
    "opening a session on a thread with another card": (
        "session",
        "        driver.select()\n        self.stream",
        "        self.stream",
    ),
    "starting on a thread with another card": (
        "session",
        "        self.driver.select()\n        with self.order:\n            staging",
        "        with self.order:\n            staging",
    ),
    "holding on a thread with another card": (
        "session",
        "        self.driver.select()\n        with self.order:\n            for",
        "        with self.order:\n            for",
    ),
    "waiting on a thread with another card": (
        "session",
        "                self.driver.select()\n                self.driver.wait_for_event(run.event)",
        "                self.driver.wait_for_event(run.event)",
    ),
    "giving back on a thread with another card": (
        "memory",
        "        self.driver.select()\n        for stream in self.streams:",
        "        for stream in self.streams:",
    ),
    "a logger per build": ("build", "@functools.cache\n", ""),
    "graphs kept": ("memory", "            self.driver.close_graph(graph)", "            pass"),
    "engines never kept": ("backend", "self.cache.store(graph.stem, key, built.plan, time.perf_counter() - started)", "pass"),
}


def source(name: str) -> str:
    """The source of a module of the backend."""
    spec = importlib.util.find_spec(f"runtime.backends.tensorrt.{name}")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")


def load(name: str, changed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of the backend from changed source, in the place of the real one."""
    full = f"runtime.backends.tensorrt.{name}"
    spec = importlib.util.find_spec(full)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, full, module)
    exec(compile(changed.get(name) or source(name), full, "exec"), module.__dict__)
    return module


def mutated(name: str, old: str, new: str) -> dict[str, str]:
    """The source of one module with one change; the place must be there exactly once."""
    before = source(name)
    assert before.count(old) == 1, f"`{old}` stands {before.count(old)} times in {name}"
    return {name: before.replace(old, new)}


def backend(changed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The whole backend, loaded anew."""
    return [load(name, changed, monkeypatch) for name in NAMES][-1]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLSCORE_HOME", str(tmp_path / "home"))


@pytest.mark.parametrize("major", [10, 11])
def test_without_a_change_the_drive_ends_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, major: int) -> None:
    drive(backend({}, monkeypatch), tmp_path, major)


@pytest.mark.parametrize("name", MUTATIONS)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of finalizers that fail
def test_the_drive_catches(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = backend(mutated(*MUTATIONS[name]), monkeypatch)
    caught = []
    for major in (10, 11):
        home = tmp_path / str(major)
        home.mkdir()
        monkeypatch.setenv("VLSCORE_HOME", str(home / "home"))
        try:
            drive(module, home, major)
        except Exception as error:  # whatever it is that goes wrong, it is seen
            caught.append((major, type(error).__name__))
    assert caught, "nobody noticed"
