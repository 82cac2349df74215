"""Sessions on the host's memory: what is held stays, what is started comes back."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.backends.session import Arrays, HostSession, Outputs


class Adding(HostSession):
    """Adds its two inputs and counts its runs."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, inputs: Arrays) -> Outputs:
        self.runs += 1
        return {"sum": inputs["a"] + inputs["b"]}


def array(value: float) -> np.ndarray:
    return np.full(2, value, np.float32)


def test_a_started_run_runs_once_and_gives_its_outputs_as_often_as_asked() -> None:
    session = Adding()
    pending = session.start({"a": array(1), "b": array(2)})
    assert pending()["sum"].tolist() == pending()["sum"].tolist() == [3, 3]
    assert session.runs == 1


def test_held_inputs_are_given_once_and_each_run_brings_the_others() -> None:
    session = Adding()
    held = session.hold({"a": array(10)})
    assert [held.run({"b": array(b)})["sum"][0] for b in (1, 2)] == [11, 12]
    assert session.run({"a": array(0), "b": array(0)})["sum"][0] == 0


def test_what_is_held_can_be_held_further() -> None:
    held = Adding().hold({"a": array(1)}).hold({"b": array(2)})
    assert held.run({})["sum"][0] == 3


def test_holding_does_not_hide_an_input_that_is_missing() -> None:
    with pytest.raises(KeyError):
        Adding().hold({"a": array(1)}).run({})
