"""A graph that is loaded when it is first run: asking saved scenes never loads the image half."""

from __future__ import annotations

import threading
from pathlib import Path

from runtime.backends.protocol import Arrays, Backend, Outputs, Pending, Session


class LazySession:
    """Opens its graph on first use, once, whichever thread comes first."""

    def __init__(self, backend: Backend, graph: Path, precision: str = "fp32") -> None:
        self.backend, self.graph, self.precision = backend, graph, precision
        self.lock = threading.Lock()
        self.opened: Session | None = None

    def run(self, inputs: Arrays) -> Outputs:
        """Run the graph, loading it if need be."""
        return self.open().run(inputs)

    def start(self, inputs: Arrays) -> Pending:
        """Begin a run, loading the graph if need be."""
        return self.open().start(inputs)

    def hold(self, inputs: Arrays) -> Session:
        """Hold inputs where the graph runs, loading it if need be."""
        return self.open().hold(inputs)

    def open(self) -> Session:
        """Load the graph, or give the one that is loaded."""
        with self.lock:
            if self.opened is None:
                self.opened = self.backend.open(self.graph, self.precision)
            return self.opened
