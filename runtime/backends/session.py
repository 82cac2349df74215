"""What the rest of the runtime asks of a backend, and what sessions on the host's own memory have in common."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.errors import BundleError, DeviceMemoryError, VlscoreError

SHORT_OF_MEMORY = ("failed to allocate", "bad allocation", "bad_alloc", "not enough memory")
LONGEST = 600  # characters of a library's own message
Arrays = Mapping[str, NDArray[Any]]
Outputs = dict[str, NDArray[np.float32]]
Pending = Callable[[], Outputs]


class Session(Protocol):
    """One graph, ready to run; safe to call from several threads."""

    def run(self, inputs: Arrays) -> Outputs:
        """Run on named arrays of the graph's exact shapes and types; give its named outputs."""
        ...

    def start(self, inputs: Arrays) -> Pending:
        """Begin a run on arrays that nobody changes meanwhile; calling the result waits for its end and gives the outputs."""
        ...

    def hold(self, inputs: Arrays) -> Session:
        """Keep some inputs where the graph runs; each run of the session given back brings only the others."""
        ...


class Backend(Protocol):
    """One device that opens graphs, and the precisions that it can run a float32 graph in here."""

    device: str
    detail: str
    precisions: tuple[str, ...]

    def open(self, graph: Path, precision: str = "fp32") -> Session:
        """Load a graph; raise DeviceError when it would not run on this device, whole, in this precision."""
        ...


class HostSession(ABC):
    """A session whose inputs and outputs are in the host's memory."""

    @abstractmethod
    def run(self, inputs: Arrays) -> Outputs:
        """Run on named arrays; give the named outputs."""

    def start(self, inputs: Arrays) -> Pending:
        """Run at once: the cores that would go on with other work are the ones that the graph runs on."""
        outputs = self.run(inputs)
        return lambda: outputs

    def hold(self, inputs: Arrays) -> Session:
        """Keep these inputs for the runs to come."""
        return HeldInputs(self, inputs)


class HeldInputs(HostSession):
    """A session some of whose inputs are given already."""

    def __init__(self, session: Session, inputs: Arrays) -> None:
        self.session, self.inputs = session, dict(inputs)

    def run(self, inputs: Arrays) -> Outputs:
        """Run on the inputs held and those given."""
        return self.session.run({**self.inputs, **inputs})


class LazySession:
    """A graph that is loaded when it is first run, once, whichever thread comes first.

    Asking saved scenes never loads the image half this way.
    """

    def __init__(
        self, backend: Backend, graph: Path, precision: str = "fp32", check_unchanged: Callable[[], None] = lambda: None
    ) -> None:
        """`check_unchanged` raises when a file of the graph is no longer the one that was verified."""
        self.backend, self.graph, self.precision, self.check_unchanged = backend, graph, precision, check_unchanged
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
                self.check_unchanged()
                opened = self.backend.open(self.graph, self.precision)
                self.check_unchanged()  # it may have been replaced while it was read
                self.opened = opened
            return self.opened


def failed_run(library: str, graph: Path, error: Exception) -> VlscoreError:
    """Our error for a library that gave up in the middle of a run: it found no memory, or cannot compute what a graph says."""
    cause = " ".join(str(error).split())[:LONGEST]
    if any(words in cause.lower() for words in SHORT_OF_MEMORY):
        return DeviceMemoryError(f"{library} finds too little free memory to run `{graph}` ({cause}); close other programs")
    return BundleError(f"{library} cannot run `{graph}`: {cause}; build the bundle again")
