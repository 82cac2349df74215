"""TensorRT engines of a finished bundle, built ahead of its first use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runtime.backends.tensorrt import TensorRTBackend
from runtime.bundles import read_manifest


def build_engines(folder: Path, say: Callable[[str], None]) -> int:
    """Build and keep the engine of every graph, as `device="tensorrt"` will look for them; gives how many there are.

    Raises DeviceError where there is no card or no TensorRT; the bundle stays as it is.
    """
    backend = TensorRTBackend(report=say)
    graphs = read_manifest(folder).graphs.values()
    for graph in graphs:
        backend.load(folder / graph.file, backend.options)
    return len(graphs)
