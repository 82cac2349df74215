"""The one logger of the product, `vlscore`; it is silent unless somebody listens.

In a program: `logging.getLogger("vlscore").setLevel("INFO")` with a handler of one's own. On the command line: `-v`, `-vv`.
"""

from __future__ import annotations

import logging
import sys

LOG = logging.getLogger("vlscore")
LOG.addHandler(logging.NullHandler())


def tell(line: str) -> None:
    """Say a line that must be seen, such as what is about to be fetched: to a log that is kept, else on stderr."""
    if LOG.isEnabledFor(logging.INFO) and is_kept(LOG):
        LOG.info(line)
    else:
        print(f"vlscore: {line}", file=sys.stderr)


def is_kept(logger: logging.Logger | None) -> bool:
    """Whether anything that does more than nothing hears a logger."""
    while logger is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False
