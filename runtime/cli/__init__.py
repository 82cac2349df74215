"""The command line: `python -m runtime locate PICTURE "a dog"`, `python -m runtime doctor`."""
