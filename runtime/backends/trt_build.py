"""An ONNX graph to a TensorRT plan: one way for TensorRT 10, 11 and RTX, whose module is given.

Half of the calls tell of failure by None or False alone, and why by the logger: both become one error here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.records import check_fields
from runtime.errors import DeviceError

Trt = Any  # the module, whose classes are only there when it is
WORST = 3  # lines of the log that an error carries


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What an engine is built for. The precisions of its layers are those that stand in the graph."""

    tf32: bool = False  # rounds float32 products to 10 bits
    workspace: int = 4 << 30  # bytes that a layer may try
    level: int = 3  # of optimisation, 0 to 5

    def __post_init__(self) -> None:
        """Check every field."""
        check_fields(self)


@dataclass(frozen=True, slots=True)
class Built:
    """A plan, and what was learnt about its layers' speeds, for the next build."""

    plan: bytes
    timing_cache: bytes


class EngineError(DeviceError):
    """TensorRT refused a graph or a plan; `nodes` are the parser's (code, operator, node) where it named some."""

    def __init__(self, message: str, nodes: tuple[tuple[str, str, str], ...] = ()) -> None:
        super().__init__(message)
        self.nodes = nodes


def make_log(trt: Trt) -> Any:  # noqa: ANN401
    """A logger that keeps what it is told; it must outlive everything that was made with it."""

    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps (severity, line)."""

        def __init__(self) -> None:
            super().__init__()
            self.lines: list[tuple[Any, str]] = []

        def log(self, severity: Any, line: str) -> None:  # noqa: ANN401 - TensorRT's enumeration
            """Called by TensorRT."""
            self.lines.append((severity, line))

        def worst(self) -> str:
            """The last errors, in one line."""
            errors = [line for severity, line in self.lines if int(severity) <= int(trt.ILogger.Severity.ERROR)]
            return " | ".join(" ".join(line.split()) for line in errors[-WORST:]) or "TensorRT gave no reason"

    return Log()


def build_plan(trt: Trt, graph: Path, options: BuildOptions, timing_cache: bytes = b"") -> Built:
    """Parse a graph of fixed shapes and build its engine; raises EngineError with TensorRT's own words."""
    log = make_log(trt)
    builder = trt.Builder(log)
    network = builder.create_network(network_flags(trt))
    if network is None:
        raise EngineError(f"TensorRT {trt.__version__} made no network for `{graph}`: {log.worst()}")
    parser = trt.OnnxParser(network, log)
    if not parser.parse_from_file(str(graph)):
        raise refused(trt, graph, parser, log)
    config = configured(trt, builder, options)
    cache = with_cache(config, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"TensorRT {trt.__version__} built no engine of `{graph}`: {log.worst()}")
    learnt = config.get_timing_cache() if cache else None
    return Built(bytes(plan), b"" if learnt is None else bytes(learnt.serialize()))


def network_flags(trt: Trt) -> int:
    """Strong typing: what a layer computes in stands in the graph. The flag's number differs between versions."""
    members = trt.NetworkDefinitionCreationFlag.__members__
    return 1 << int(members["STRONGLY_TYPED"]) if "STRONGLY_TYPED" in members else 0


def configured(trt: Trt, builder: Any, options: BuildOptions) -> Any:  # noqa: ANN401
    """The builder's settings."""
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace)
    # On by default, and float32 would not be float32.
    (config.set_flag if options.tf32 else config.clear_flag)(trt.BuilderFlag.TF32)
    config.builder_optimization_level = options.level
    return config


def with_cache(config: Any, content: bytes) -> bool:  # noqa: ANN401
    """Give the builder what earlier builds learnt; a cache of another card is refused, and an empty one taken instead."""
    cache = config.create_timing_cache(content)
    if cache is not None and config.set_timing_cache(cache, False):
        return True
    fresh = config.create_timing_cache(b"")
    return fresh is not None and bool(config.set_timing_cache(fresh, False))


def refused(trt: Trt, graph: Path, parser: Any, log: Any) -> EngineError:  # noqa: ANN401
    """What the parser says against a graph."""
    errors = [parser.get_error(place) for place in range(parser.num_errors)]
    nodes = tuple((error.code().name, error.node_operator(), error.node_name()) for error in errors)
    told = [
        f"{code} at {kind} `{name}`: {' '.join(error.desc().split())}"
        for (code, kind, name), error in zip(nodes, errors, strict=True)
    ]
    reason = "; ".join(told) or log.worst()
    return EngineError(f"TensorRT {trt.__version__} cannot read `{graph}`: {reason}. Build the bundle again", nodes)
