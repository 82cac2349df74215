from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pytest

from engine.records import RecordError, check_fields, fields_of, from_json, shown, to_json


@dataclass(frozen=True)
class Leaf:
    size: tuple[int, int]
    kind: Literal["a", 4] = "a"


@dataclass(frozen=True)
class Tree:
    leaf: Leaf
    ratio: float
    flag: bool
    names: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    extra: object = None


@dataclass(frozen=True)
class Settled:
    ratio: float
    size: tuple[int, int]

    def __post_init__(self) -> None:
        check_fields(self)


FULL = {
    "leaf": {"size": [1, 2], "kind": 4},
    "ratio": 0.5,
    "flag": True,
    "names": {"x": ["uint8", [1, 3]]},
    "extra": {"any": [1]},
}


def test_round_trip_through_json() -> None:
    tree = from_json(Tree, json.loads(json.dumps(FULL)), "tree")
    assert tree == Tree(Leaf((1, 2), 4), 0.5, True, {"x": ("uint8", (1, 3))}, {"any": [1]})
    assert to_json(tree) == FULL
    assert from_json(Tree, to_json(tree), "tree") == tree


def test_defaults_may_be_left_out() -> None:
    tree = from_json(Tree, {"leaf": {"size": (1, 2)}, "ratio": 1, "flag": False}, "tree")
    assert tree == Tree(Leaf((1, 2)), 1.0, False)
    assert isinstance(tree.ratio, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"leaf": 3}, "`tree.leaf` must hold named fields, found 3 (int)"),
        ({"leaf": {}}, "`tree.leaf` lacks the field(s) `size`"),
        ({"leaf": {"size": [1]}}, "`tree.leaf.size` must have 2 entries, found 1"),
        ({"leaf": {"size": 7}}, "`tree.leaf.size` must be a list"),
        ({"leaf": {"size": [1, "2"]}}, "`tree.leaf.size[1]` must be a whole number, found '2' (str)"),
        ({"leaf": {"size": [1, 2], "kind": "b"}}, "`tree.leaf.kind` must be one of `a`, `4`, found 'b'"),
        ({"leaf": {"size": [1, 2], "kind": 4.0}}, "`tree.leaf.kind` must be one of"),
        ({"ratio": True}, "`tree.ratio` must be a number, found True (bool)"),
        ({"ratio": float("nan")}, "`tree.ratio` must be a finite number"),
        ({"flag": 1}, "`tree.flag` must be true or false"),
        ({"names": []}, "`tree.names` must hold named fields"),
        ({"names": {1: ["uint8", []]}}, "`tree.names` must have text keys"),
        ({"names": {"x": [8, []]}}, "`tree.names.x[0]` must be text"),
        ({"colour": "red"}, "`tree` has unknown field(s) `colour`: it may hold `leaf`, `ratio`"),
        ({"ration": 1}, "`tree` has unknown field(s) `ration`: did you mean `ratio`?"),
    ],
)
def test_wrong_fields_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(RecordError, match=re.escape(message)):
        from_json(Tree, {**FULL, **change}, "tree")


def test_settle_converts_in_place_and_takes_numpy_scalars() -> None:
    settled = Settled(np.float32(0.5), [np.int64(1), 2])  # type: ignore[arg-type]
    assert settled == Settled(0.5, (1, 2))
    assert type(settled.ratio) is float
    assert type(settled.size[0]) is int


def test_fields_keep_their_order() -> None:
    assert list(fields_of(Tree)) == ["leaf", "ratio", "flag", "names", "extra"]


class Wordless:
    def __repr__(self) -> str:
        raise KeyError("words")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("a", "'a'"),
        ("a" * 200, "'" + "a" * 76 + "..."),
        (np.zeros((2, 2)), "array([[0., 0.],        [0., 0.]])"),
        (10**5000, "a int without words"),
        (Wordless(), "a Wordless without words"),
    ],
    ids=("text", "long", "lines", "number", "wordless"),
)
def test_whatever_is_shown_is_one_short_line(value: object, words: str) -> None:
    assert shown(value) == words
