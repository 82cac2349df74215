"""Plain data (what JSON holds) to frozen dataclasses and back, with errors that name the field."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import numbers
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from engine.errors import VlscoreError

Record = TypeVar("Record")


class RecordError(VlscoreError, ValueError):
    """A field is missing, unknown, or not of the type that its record declares."""


def to_json(record: object) -> dict[str, Any]:
    """Turn a dataclass, and whatever it holds, into dicts, lists and scalars that JSON can write."""
    return {name: _json_value(getattr(record, name)) for name in fields_of(type(record))}


def from_json(kind: type[Record], data: object, where: str) -> Record:
    """Build the dataclass `kind` from a mapping; fields with a default may be left out.

    Raises `RecordError` naming the path from `where` to the field that is missing, unknown or wrong.
    """
    if not isinstance(data, Mapping):
        raise RecordError(f"`{where}` must hold named fields, found {_found(data)}")
    expected = fields_of(kind)
    unknown = sorted(str(key) for key in data if key not in expected)
    if unknown:
        near = difflib.get_close_matches(unknown[0], expected, n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"it may hold {quoted(expected)}"
        raise RecordError(f"`{where}` has unknown field(s) {quoted(unknown)}: {hint}")
    missing = [name for name in expected if name not in data and name not in _optional(kind)]
    if missing:
        raise RecordError(f"`{where}` lacks the field(s) {quoted(missing)}")
    given = [name for name in expected if name in data]
    return kind(**{name: _conform(expected[name], data[name], f"{where}.{name}") for name in given})


def check_fields(record: object) -> None:
    """Check the fields of a frozen dataclass against their types, in its `__post_init__`.

    Lists become tuples and whole numbers may stand for floats; raises `RecordError` naming the field.
    """
    for name, expected in fields_of(type(record)).items():
        object.__setattr__(record, name, _conform(expected, getattr(record, name), name))


def fields_of(kind: type[Any]) -> dict[str, object]:
    """Give the fields of a dataclass with their resolved types, in order of declaration."""
    known: Any = kind  # mypy holds that a class cannot be hashed
    return _resolved(known)


@functools.cache  # resolving types takes longer than all else that a record does
def _resolved(kind: type[Any]) -> dict[str, object]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


def shown(value: object, most: int = 80) -> str:
    """A value as messages show it: in one line, and cut where it is long, whatever it is."""
    try:
        words = repr(value).replace("\n", " ")
    except Exception:  # whole numbers of thousands of digits have no words, and the classes of others may raise anything
        words = f"a {type(value).__name__} without words"
    return words if len(words) <= most else f"{words[: most - 3]}..."


def quoted(names: Iterable[object]) -> str:
    """Join names for an error message, each in back-ticks."""
    return ", ".join(f"`{name}`" for name in names)


def _json_value(value: object) -> object:
    if dataclasses.is_dataclass(value):
        return to_json(value)
    if isinstance(value, Mapping):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_json_value(item) for item in value]
    return value


def _conform(expected: object, value: object, where: str) -> object:
    origin = get_origin(expected)
    if expected is object:
        return value
    if origin is Literal:
        return _choice(get_args(expected), value, where)
    if origin is tuple:
        return _tuple(get_args(expected), value, where)
    if origin is dict:
        return _dict(get_args(expected)[1], value, where)
    if isinstance(expected, type) and dataclasses.is_dataclass(expected):
        return from_json(expected, value, where)
    return _scalar(expected, value, where)


def _optional(kind: type[Any]) -> frozenset[str]:
    unset = dataclasses.MISSING
    return frozenset(
        field.name for field in dataclasses.fields(kind) if field.default is not unset or field.default_factory is not unset
    )


def _choice(allowed: tuple[object, ...], value: object, where: str) -> object:
    for option in allowed:
        if type(option) is type(value) and option == value:
            return option
    raise RecordError(f"`{where}` must be one of {quoted(allowed)}, found {_found(value)}")


def _tuple(kinds: tuple[object, ...], value: object, where: str) -> tuple[object, ...]:
    if not isinstance(value, tuple | list):
        raise RecordError(f"`{where}` must be a list, found {_found(value)}")
    if kinds[-1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(value) != len(kinds):
        raise RecordError(f"`{where}` must have {len(kinds)} entries, found {len(value)}")
    pairs = zip(kinds, value, strict=True)
    return tuple(_conform(kind, item, f"{where}[{index}]") for index, (kind, item) in enumerate(pairs))


def _dict(kind: object, value: object, where: str) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise RecordError(f"`{where}` must hold named fields, found {_found(value)}")
    for key in value:
        if not isinstance(key, str):
            raise RecordError(f"`{where}` must have text keys, found {_found(key)}")
    return {key: _conform(kind, item, f"{where}.{key}") for key, item in value.items()}


def _scalar(expected: object, value: object, where: str) -> object:
    # bool is a kind of int in Python, yet `threshold=True` is never meant.
    if expected is int and isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if expected is float and isinstance(value, numbers.Real) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise RecordError(f"`{where}` must be a finite number, found {_found(value)}")
        return float(value)
    if (expected is str and isinstance(value, str)) or (expected is bool and isinstance(value, bool)):
        return value
    names: dict[object, str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    raise RecordError(f"`{where}` must be {names[expected]}, found {_found(value)}")


def _found(value: object) -> str:
    return f"{shown(value)} ({type(value).__name__})"
