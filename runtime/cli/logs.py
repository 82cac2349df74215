"""The log on stderr, as much of it as `-v` asks for."""

from __future__ import annotations

import logging

from runtime.logs import LOG

LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def show_log(verbose: int) -> None:
    """Let the product's own log speak; the logs of libraries stay as they are."""
    for handler in [handler for handler in LOG.handlers if isinstance(handler, logging.StreamHandler)]:
        LOG.removeHandler(handler)  # of an earlier command in this process
    if verbose:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", datefmt="%H:%M:%S"))
        LOG.addHandler(handler)
    LOG.setLevel(LEVELS[min(verbose, len(LEVELS) - 1)])
