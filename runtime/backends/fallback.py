"""What replaces the masked graph: a smaller batch on a card that is full, float32 where half precision overflows."""

from __future__ import annotations

import threading
import warnings

import numpy as np

from runtime.backends.session import Arrays, HostSession, Outputs, Pending, Session
from runtime.errors import DeviceMemoryError, DeviceWarning


class FallbackSession(HostSession):
    """The masked graph, with one or both of its fallbacks; their use is counted and reported."""

    def __init__(self, masked: Session, *, small: tuple[Session, int] | None = None, full: Session | None = None) -> None:
        """Take the graph, the same at a smaller batch with its size, and the same in float32."""
        self.masked, self.small, self.full = masked, small, full
        self.lock = threading.Lock()
        self.shrunk = False
        self.retried = 0

    def run(self, inputs: Arrays) -> Outputs:
        """Run and wait."""
        return self.start(inputs)()

    def start(self, inputs: Arrays) -> Pending:
        """Begin a run; where it fails, the fallback runs when the result is waited for."""
        if self.shrunk:
            return lambda: self.settle(inputs, None)
        try:
            pending = self.masked.start(inputs)
        except DeviceMemoryError as error:
            self.shrink(error)
            return lambda: self.settle(inputs, None)
        return lambda: self.settle(inputs, pending)

    def settle(self, inputs: Arrays, pending: Pending | None) -> Outputs:
        """The outputs of a run, or of its fallback."""
        if pending is None:
            outputs = self.in_pieces(inputs)
        else:
            try:
                outputs = pending()
            except DeviceMemoryError as error:
                self.shrink(error)
                outputs = self.in_pieces(inputs)
        if self.full is None or all(np.isfinite(value).all() for value in outputs.values()):
            return outputs
        with self.lock:
            self.retried += 1
        return self.full.run(inputs)

    def shrink(self, error: DeviceMemoryError) -> None:
        """From now on use the smaller batch, with one warning; without one the error is raised."""
        if self.small is None:
            raise error
        with self.lock:
            if self.shrunk:
                return
            self.shrunk = True
        warnings.warn(
            f"the card has too little free memory for the bundle's batch; going on with {self.small[1]} passes per run ({error})",
            DeviceWarning,
            stacklevel=2,
        )

    def in_pieces(self, inputs: Arrays) -> Outputs:
        """Run a batch by the smaller graph, piece by piece; its size divides the batch."""
        if self.small is None:
            raise ValueError("there is no graph of a smaller batch")
        session, size = self.small
        count = len(inputs["which"])
        pieces = [
            session.run({**inputs, **{name: inputs[name][start : start + size] for name in ("which", "maps")}})
            for start in range(0, count, size)
        ]
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
