"""`python -m bench.growth --model demo-rn`."""

from __future__ import annotations

from bench.growth.command import main

if __name__ == "__main__":
    main()
