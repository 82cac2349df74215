"""What a session on the host's own memory does: it starts by running, and it holds an array by keeping it."""

from __future__ import annotations

from abc import ABC, abstractmethod

from runtime.backends.protocol import Arrays, Outputs, Pending, Session


class PlainSession(ABC):
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
        return Held(self, inputs)


class Held(PlainSession):
    """A session some of whose inputs are given already."""

    def __init__(self, session: Session, inputs: Arrays) -> None:
        self.session, self.inputs = session, dict(inputs)

    def run(self, inputs: Arrays) -> Outputs:
        """Run on the inputs held and those given."""
        return self.session.run({**self.inputs, **inputs})
