"""What the rest of the runtime asks of a backend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Session(Protocol):
    """One graph, ready to run; safe to call from several threads."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Run on named arrays of the graph's exact shapes and types; give its named outputs."""
        ...


class Backend(Protocol):
    """One device that opens graphs."""

    device: str
    detail: str

    def open(self, graph: Path) -> Session:
        """Load a graph; raise DeviceError when it would not run on this device, whole."""
        ...
