"""Hypothesis settings: no deadline, since a busy machine is not a defect."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("engine", deadline=None)
settings.load_profile("engine")
