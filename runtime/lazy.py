"""A graph that is loaded when it is first run: asking saved scenes never loads the image half."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.backends.protocol import Arrays, Backend, Session


class LazySession:
    """Opens its graph on first use, once, whichever thread comes first."""

    def __init__(self, backend: Backend, graph: Path, precision: str = "fp32") -> None:
        self.backend, self.graph, self.precision = backend, graph, precision
        self.lock = threading.Lock()
        self.opened: Session | None = None

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Run the graph, loading it if need be."""
        return self.open().run(inputs)

    def open(self) -> Session:
        """Load the graph, or give the one that is loaded."""
        with self.lock:
            if self.opened is None:
                self.opened = self.backend.open(self.graph, self.precision)
            return self.opened
