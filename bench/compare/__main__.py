"""`python -m bench.compare --backbone RN50`."""

from __future__ import annotations

if __name__ == "__main__":  # the workers import this module anew when they start, and need none of it
    from bench.compare.command import main

    main()
