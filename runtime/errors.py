"""What can go wrong, by whose hand: every error of the runtime is a ``VlscoreError``.

A message says what was asked, what was found and what to do about it.
"""

from __future__ import annotations

from engine.errors import VlscoreError

__all__ = [
    "ArgumentError",
    "BundleError",
    "DeviceError",
    "DeviceMemoryError",
    "DeviceWarning",
    "PictureError",
    "PresetError",
    "QueryError",
    "SceneError",
    "VlscoreError",
    "WeightsError",
]


class PictureError(VlscoreError, ValueError):
    """A picture is missing, damaged, too large, or of a kind that cannot be read or drawn."""


class QueryError(VlscoreError, ValueError):
    """A query is empty, too long, or not made of words."""


class ArgumentError(VlscoreError, ValueError):
    """An argument is of a kind or value that means nothing here."""


class PresetError(ArgumentError):
    """A preset is unknown, or its passes are not a number that it can spend."""


class SceneError(VlscoreError, ValueError):
    """A scene cannot be read, or belongs to another model than the one asked."""


class BundleError(VlscoreError, RuntimeError):
    """A bundle is missing, damaged, incomplete, or made by another version."""


class DeviceError(VlscoreError, RuntimeError):
    """The device or the threads asked for cannot be had on this machine."""


class DeviceMemoryError(DeviceError):
    """The device has too little free memory for a graph or its buffers."""


class DeviceWarning(UserWarning):
    """The device did not do a thing the way it was built for, and it was done in another way."""


class WeightsError(VlscoreError, RuntimeError):
    """Weights cannot be read or fetched, are not what they should be, or do not fit the model asked for."""
