"""`python -m bench.evaluate DATASET --root FOLDER --model RN50 --out FOLDER`."""

from __future__ import annotations

from bench.evaluate.command import main

if __name__ == "__main__":
    main()
