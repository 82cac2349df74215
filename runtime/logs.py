"""The one logger of the product, `vlscore`; it is silent unless somebody listens.

In a program: `logging.getLogger("vlscore").setLevel("INFO")` with a handler of one's own. On the command line: `-v`, `-vv`.
"""

from __future__ import annotations

import logging

LOG = logging.getLogger("vlscore")
LOG.addHandler(logging.NullHandler())
