"""`python -m bench.accuracy --model demo-rn`."""

from __future__ import annotations

from bench.accuracy.command import main

main()
