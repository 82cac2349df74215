"""What the rest of the runtime asks of a backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
Outputs = dict[str, NDArray[np.float32]]
Pending = Callable[[], Outputs]


class Session(Protocol):
    """One graph, ready to run; safe to call from several threads."""

    def run(self, inputs: Arrays) -> Outputs:
        """Run on named arrays of the graph's exact shapes and types; give its named outputs."""
        ...

    def start(self, inputs: Arrays) -> Pending:
        """Begin a run on arrays that nobody changes meanwhile; what is given back waits for its end and gives the outputs."""
        ...

    def hold(self, inputs: Arrays) -> Session:
        """Put some inputs where the graph runs, to stay; each run of the session given back brings the others."""
        ...


class Backend(Protocol):
    """One device that opens graphs, and the precisions that it can run a float32 graph in here."""

    device: str
    detail: str
    precisions: tuple[str, ...]

    def open(self, graph: Path, precision: str = "fp32") -> Session:
        """Load a graph; raise DeviceError when it would not run on this device, whole, in this precision."""
        ...
