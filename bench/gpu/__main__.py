"""`python -m bench.gpu`."""

from __future__ import annotations

if __name__ == "__main__":  # the workers import this module anew when they start, and need none of it
    from bench.gpu.command import main

    main()
