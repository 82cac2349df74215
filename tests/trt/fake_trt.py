"""A `tensorrt` for tests: only the documented names of one major version, their order enforced, arithmetic by ONNX Runtime.

Its plans hold the ONNX model, so a backend that uses it right gives right numbers.
"""

from __future__ import annotations

import enum
import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tests.trt.fake_cuda import FakeCard, Misuse

TABLE = json.loads(Path(__file__).with_name("api.json").read_text(encoding="utf-8"))
KINDS = {1: "FLOAT", 2: "UINT8", 3: "INT8", 6: "INT32", 7: "INT64", 10: "HALF"}
SIZES = {"FLOAT": np.float32, "UINT8": np.uint8, "INT8": np.int8, "INT32": np.int32, "INT64": np.int64, "HALF": np.float16}


def names(major: int, kind: str) -> set[str]:
    """The documented names of a class of a major version."""
    return {*TABLE["both"].get(kind, ()), *TABLE[str(major)].get(kind, ())}


class Guarded:
    """Refuses every public name that its version does not document."""

    kind = ""

    def __init__(self, fake: Fake) -> None:
        self._fake = fake

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name != "kind":
            fake, kind = object.__getattribute__(self, "_fake"), type(self).kind
            if name not in names(fake.major, kind):
                raise AttributeError(f"TensorRT {fake.major} has no `{kind}.{name}`")
        return object.__getattribute__(self, name)


class Network(Guarded):
    """What a parser fills."""

    kind = "Network"
    _model: bytes = b""


class ParserError(Guarded):
    """One error of the parser."""

    kind = "ParserError"

    def code(self) -> Any:
        return self._fake.ErrorCode.INVALID_NODE

    def node(self) -> int:
        return 3

    def node_name(self) -> str:
        return "node_resize"

    def node_operator(self) -> str:
        return "Resize"

    def desc(self) -> str:
        return "antialias is\n not supported"


class TimingCache(Guarded):
    """Speeds of layers."""

    kind = "TimingCache"

    def __init__(self, fake: Fake, content: bytes) -> None:
        super().__init__(fake)
        self._content = content

    def serialize(self) -> bytes:
        return self._content or b"learnt here"


class Config(Guarded):
    """A builder's settings; TF32 is on until it is cleared, as in the real one."""

    kind = "Config"
    builder_optimization_level = 3

    def __init__(self, fake: Fake) -> None:
        super().__init__(fake)
        self._flags, self._cache = {fake.BuilderFlag.TF32}, None
        self._pools: dict[Any, int] = {}

    def set_memory_pool_limit(self, pool: Any, size: int) -> None:
        self._pools[pool] = size

    def set_flag(self, flag: Any) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: Any) -> None:
        self._flags.discard(flag)

    def create_timing_cache(self, content: bytes) -> TimingCache:
        return TimingCache(self._fake, content)

    def set_timing_cache(self, cache: TimingCache, ignore_mismatch: bool) -> bool:
        if ignore_mismatch:
            raise Misuse("a timing cache of another card must not be ignored into use")
        if cache._content == b"another card":
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> TimingCache | None:
        return self._cache


class Builder(Guarded):
    """Makes networks and plans."""

    kind = "Builder"

    def __init__(self, fake: Fake, log: Any) -> None:
        super().__init__(fake)
        self._log = fake.checked(log)

    def create_network(self, flags: int) -> Network:
        members = TABLE[str(self._fake.major)]["NetworkDefinitionCreationFlag"]
        if flags != 1 << members["STRONGLY_TYPED"]:
            raise Misuse(f"network flags {flags:b}: strong typing is bit {members['STRONGLY_TYPED']} in this version")
        return Network(self._fake)

    def create_builder_config(self) -> Config:
        return Config(self._fake)

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        self._fake.card.check_selected()
        for number in range(1000):
            self._log.log(self._fake.ILogger.Severity.VERBOSE, f"tactic {number}")
        self._fake.builds.append({"flags": {flag.name for flag in config._flags}, "level": config.builder_optimization_level})
        if "build" in self._fake.fails:
            self._log.log(self._fake.ILogger.Severity.ERROR, "no tactic was found")
            return None
        return f"plan{self._fake.major}:".encode() + network._model


class OnnxParser(Guarded):
    """Reads ONNX files."""

    kind = "OnnxParser"

    def __init__(self, fake: Fake, network: Network, log: Any) -> None:
        super().__init__(fake)
        self._network, self._log = network, fake.checked(log)
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, place: int) -> ParserError:
        return self._errors[place]

    def parse_from_file(self, path: str) -> bool:
        if "parse" in self._fake.fails:
            self._errors.append(ParserError(self._fake))
            return False
        self._network._model = onnx.load(path).SerializeToString()
        return True


class Engine(Guarded):
    """A plan, loaded."""

    kind = "Engine"

    def __init__(self, fake: Fake, model: bytes) -> None:
        super().__init__(fake)
        graph = onnx.load_from_string(model).graph
        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._values = {value.name: value.type.tensor_type for value in (*graph.input, *graph.output)}
        self._inputs = [value.name for value in graph.input]

    @property
    def num_io_tensors(self) -> int:
        return len(self._values)

    def get_tensor_name(self, place: int) -> str:
        return list(self._values)[place]

    def get_tensor_mode(self, name: str) -> Any:
        return self._fake.TensorIOMode.INPUT if name in self._inputs else self._fake.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return self._fake.DataType[KINDS[self._values[name].elem_type]]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(dim.dim_value for dim in self._values[name].shape.dim)

    def create_execution_context(self, strategy: Any) -> Context | None:
        if "context" in self._fake.fails:
            return None
        self._fake.card.check_selected()
        if strategy.name != "USER_MANAGED":
            raise Misuse("the context's memory must be ours")
        self._fake.contexts += 1
        return Context(self._fake, self)


class Context(Guarded):
    """Runs an engine; enforces the order that the documentation asks for."""

    kind = "Context"

    def __init__(self, fake: Fake, engine: Engine) -> None:
        super().__init__(fake)
        self._engine, self._addresses = engine, dict[str, int]()
        self._shapes = self._memory = self._frozen = False
        self._runs = 0

    def _touch(self) -> None:
        if self._frozen:
            raise Misuse("a context was touched after it was recorded as a graph")

    def set_tensor_address(self, name: str, pointer: int) -> bool:
        self._touch()
        if "address" in self._fake.fails or pointer not in self._fake.card.memory:
            return False
        self._addresses[name] = pointer
        return True

    def infer_shapes(self) -> list[str]:
        self._touch()
        self._shapes = True
        return ["pixels"] if "shapes" in self._fake.fails else []

    def update_device_memory_size_for_shapes(self) -> int:
        self._touch()
        if not self._shapes:
            raise Misuse("the scratch size was asked for before the shapes were inferred")
        return 10_000

    def set_device_memory(self, pointer: int, size: int) -> None:
        self._touch()
        if len(self._fake.card.memory[pointer]) < 10_000 or size < 10_000:
            raise Misuse("the scratch memory is smaller than asked for")
        self._memory = True

    def execute_async_v3(self, stream: int) -> bool:
        self._touch()
        card = self._fake.card
        if set(self._addresses) != set(self._engine._values) or not (self._shapes and self._memory):
            raise Misuse("a run before all addresses, shapes and the scratch memory were set")
        if "enqueue" in self._fake.fails:
            return False
        if stream in card.recording:
            if "capture" in self._fake.fails:
                return False
            if not self._runs:
                raise Misuse("a capture before the first run was over")
            self._frozen = True
        card.put(stream, self._work)
        return True

    def _work(self) -> None:
        self._runs += 1
        engine, memory = self._engine, self._fake.card.memory
        feed = {}
        for name in engine._inputs:
            kind, shape = np.dtype(SIZES[KINDS[engine._values[name].elem_type]]), Engine.get_tensor_shape(engine, name)
            count = int(np.prod(shape, dtype=int))
            feed[name] = np.frombuffer(memory[self._addresses[name]], kind)[:count].reshape(shape)
        wanted = [name for name in engine._values if name not in engine._inputs]
        for name, value in zip(wanted, engine._session.run(wanted, feed), strict=True):
            memory[self._addresses[name]][: value.nbytes] = np.ascontiguousarray(value).tobytes()


class Runtime(Guarded):
    """Loads plans."""

    kind = "Runtime"

    def __init__(self, fake: Fake, log: Any) -> None:
        super().__init__(fake)
        self._log = fake.checked(log)

    def deserialize_cuda_engine(self, plan: bytes) -> Engine | None:
        self._fake.card.check_selected()
        mark = f"plan{self._fake.major}:".encode()
        if "deserialize" in self._fake.fails or not plan.startswith(mark):
            self._log.log(self._fake.ILogger.Severity.ERROR, "the plan is of another version")
            return None
        return Engine(self._fake, plan[len(mark) :])


class Fake(types.SimpleNamespace):
    """The module."""

    __hash__ = object.__hash__

    def __init__(self, major: int, card: FakeCard, *fails: str) -> None:
        self.major, self.card, self.fails = major, card, set(fails)
        self.first_log = None
        self.builds: list[dict[str, Any]] = []
        self.contexts = 0  # that were ever made
        self.__version__ = {10: "10.16.1.11", 11: "11.4.0.106"}[major]
        severity = enum.IntEnum("Severity", {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2, "INFO": 3, "VERBOSE": 4})
        self.ILogger = type("ILogger", (), {"Severity": severity})
        flags = TABLE[str(major)]["NetworkDefinitionCreationFlag"]
        self.NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", flags)
        self.BuilderFlag = enum.Enum("BuilderFlag", sorted(names(major, "BuilderFlag")))
        self.MemoryPoolType = enum.Enum("MemoryPoolType", ["WORKSPACE"])
        self.ExecutionContextAllocationStrategy = enum.Enum("Strategy", ["STATIC", "ON_PROFILE_CHANGE", "USER_MANAGED"])
        self.TensorIOMode = enum.Enum("TensorIOMode", ["NONE", "INPUT", "OUTPUT"])
        self.DataType = enum.Enum("DataType", [*SIZES, "BF16", "BOOL"])
        self.ErrorCode = enum.Enum("ErrorCode", ["SUCCESS", "INVALID_NODE", "UNSUPPORTED_NODE"])
        for kind in (Builder, OnnxParser, Runtime):
            setattr(self, kind.__name__, self.bound(kind))

    def bound(self, kind: type) -> Any:
        """A class of the module as a call that knows its module."""
        return lambda *given: kind(self, *given)

    def checked(self, log: Any) -> Any:
        """A logger must be one of TensorRT's."""
        if not isinstance(log, self.ILogger):
            raise Misuse("the logger is not an ILogger")
        if self.first_log not in (None, log):
            raise Misuse("a second logger: TensorRT keeps the first of a process, and nobody sees what it says to others")
        self.first_log = log
        return log
