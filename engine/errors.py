"""The one class of all errors that are meant for the person who asked."""

from __future__ import annotations


class VlscoreError(Exception):
    """Anything that is refused here, with a message that says what was asked, what was found and what to do."""
