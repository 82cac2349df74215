"""An ONNX graph to a TensorRT engine: the same steps for TensorRT 10, 11 and RTX, whose module is passed in.

Half of the calls report failure by None or False alone, and the reason through the logger: both become one error here.
"""

from __future__ import annotations

import functools
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.records import check_fields
from runtime.errors import DeviceError

TensorRT = Any  # the module, which is only there on machines that have it
LINES = 3  # of the log that an error quotes


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine is built. The precisions of its layers are those of the graph."""

    tf32: bool = False  # rounds float32 products to 10 bits
    workspace: int = 4 << 30  # bytes that a layer may try
    level: int = 3  # of optimisation, 0 to 5

    def __post_init__(self) -> None:
        """Check every field."""
        check_fields(self)


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """A serialized engine, and the measured speeds of its layers for the next build."""

    plan: bytes
    timing_cache: bytes


class EngineError(DeviceError):
    """TensorRT refused a graph or a plan; `nodes` are the parser's (code, operator, node) where it named some."""

    def __init__(self, message: str, nodes: tuple[tuple[str, str, str], ...] = ()) -> None:
        super().__init__(message)
        self.nodes = nodes


@functools.cache
def shared_log(trt: TensorRT) -> Any:  # noqa: ANN401
    """The one logger of this process: TensorRT keeps the first that it is given and drops the lines meant for others."""

    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps the last errors."""

        def __init__(self) -> None:
            super().__init__()
            self.lines: deque[str] = deque(maxlen=LINES)

        def log(self, severity: Any, line: str) -> None:  # noqa: ANN401 - TensorRT's enumeration
            """Called by TensorRT, thousands of times in a build."""
            if int(severity) <= int(trt.ILogger.Severity.ERROR):
                self.lines.append(" ".join(line.split()))

        def take_errors(self) -> str:
            """The last errors, in one line; the next failure is not explained by them again."""
            errors = list(self.lines)
            self.lines.clear()
            return " | ".join(errors) or "TensorRT gave no reason"

    return Log()


def build_plan(trt: TensorRT, graph: Path, options: EngineOptions, timing_cache: bytes = b"") -> BuiltEngine:
    """Parse a graph of fixed shapes and build its engine; raises EngineError with TensorRT's own message."""
    log = shared_log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(network_flags(trt))
    if network is None:
        raise EngineError(f"TensorRT {trt.__version__} made no network for `{graph}`: {log.take_errors()}")
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        raise parser_error(trt, graph, parser, log)
    config = make_config(trt, builder, options)
    cached = set_timing_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT {trt.__version__} built no engine of `{graph}`: {log.take_errors()}")
    timing = config.get_timing_cache() if cached else None
    return BuiltEngine(bytes(plan), b"" if timing is None else bytes(timing.serialize()))


def network_flags(trt: TensorRT) -> int:
    """Strong typing: layers compute in the types of the graph. The flag's number differs between versions."""
    members = trt.NetworkDefinitionCreationFlag.__members__
    return 1 << int(members["STRONGLY_TYPED"]) if "STRONGLY_TYPED" in members else 0


def make_config(trt: TensorRT, builder: Any, options: EngineOptions) -> Any:  # noqa: ANN401
    """The builder's settings."""
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    # On by default, and float32 would not be float32.
    (config.set_flag if options.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    config.builder_optimization_level = options.level
    return config


def set_timing_cache(config: Any, content: bytes) -> bool:  # noqa: ANN401
    """Give the builder the timings of earlier builds; those of another card are refused, and an empty cache is set instead."""
    cache = config.create_timing_cache(content)
    if cache is not None and config.set_timing_cache(cache, False):
        return True
    empty = config.create_timing_cache(b"")
    return empty is not None and bool(config.set_timing_cache(empty, False))


def parser_error(trt: TensorRT, graph: Path, parser: Any, log: Any) -> EngineError:  # noqa: ANN401
    """The parser's reasons to refuse a graph."""
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    nodes = tuple((error.code().name, error.node_operator(), error.node_name()) for error in errors)
    reasons = [
        f"{code} at {operator} `{name}`: {' '.join(error.desc().split())}"
        for (code, operator, name), error in zip(nodes, errors, strict=True)
    ]
    reason = "; ".join(reasons) or log.take_errors()
    return EngineError(f"TensorRT {trt.__version__} cannot read `{graph}`: {reason}. Build the bundle again", nodes)
