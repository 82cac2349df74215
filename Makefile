# Two commands on a bare machine (Python >= 3.11, git, make): `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test test-full check bench clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: $(VENV)/demo.stamp  ## install the light CPU set (no PyTorch), localize in a shipped picture, draw it
	@mkdir -p out
	$(BIN)/python -m runtime locate runtime/models/demo.jpg "a guitar" "a microphone" "a high heel" --out out/demo.png

test: $(VENV)/dev.stamp  ## install everything and run the tests
	$(BIN)/python -m pytest -m "not slow"

test-full: $(VENV)/dev.stamp  ## the tests, with the minutes-long ones (the whole RN50 against the oracle)
	$(BIN)/python -m pytest

check: $(VENV)/dev.stamp  ## lint, types, room rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/dev.stamp  ## the benchmarks
	$(BIN)/python -m pytest bench --benchmark-only

clean:  ## remove what the commands above made
	rm -rf $(VENV) out build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml | $(VENV)/bin/python
	$(INSTALL) --editable '.[cpu]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml | $(VENV)/bin/python
	$(INSTALL) --editable '.[cpu,export,dev]'
	@touch $@ $(VENV)/demo.stamp
