"""`python -m runtime`: the same as the installed `vlscore`."""

from __future__ import annotations

from runtime.cli.app import main

if __name__ == "__main__":
    main()
