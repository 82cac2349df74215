"""What a name may have been meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def near(name: str, names: Iterable[str]) -> str:
    """The end of a message: the closest of the names, if one is close."""
    close = difflib.get_close_matches(name.lower(), list(names), n=1)
    return f"; did you mean `{close[0]}`?" if close else ""
