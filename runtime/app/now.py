"""What one run of the page has to work with."""

from __future__ import annotations

from dataclasses import dataclass

from runtime.app.controls import Settings
from runtime.app.pictures import Chosen


@dataclass(frozen=True)
class Now:
    """The inputs."""

    picture: Chosen | None
    queries: list[str]
    settings: Settings
