# Two commands on a bare machine (Python >= 3.11, git, make): `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
GPU ?= .venv-gpu
GPU_INTERPRETER = $(or $(GPU_PYTHON),$(GPU)/bin/python)
GPU_RUN = $(GPU_INTERPRETER) -m bench.gpu
GPU_TRIAL = $(findstring cpu,$(GPU_OPTIONS))
PART ?= 60
RTX ?= .venv-rtx
ORT ?= .venv-ort-gpu
ONNXRUNTIME_GPU = onnxruntime-gpu~=1.31.1
MADE = $(foreach model,demo-rn demo-vit,$(foreach way,fp16 int8-symmetric,out/rtx/$(model)+$(way))) \
    $(foreach model,RN50 ViT-B-16,$(foreach way,fp32 fp16 int8-symmetric,out/rtx/$(model)+$(way)))
BUNDLES ?= runtime/models/demo-rn out/rtx/demo-vit+fp32 $(MADE)
BACKBONE ?= RN50
BIN = $(VENV)/bin
JOBS ?= 2
SECONDS_LONG ?= 120
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test test-full test-rtx test-ort-gpu check docs torture audit sbom lock bench bench-check compare gpu gpu-install gpu-bundles gpu-engines gpu-compare gpu-pack clean

help:  ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: $(VENV)/demo.stamp  ## install the light CPU set (no PyTorch), localize in a shipped picture, draw it
	@mkdir -p out
	$(BIN)/python -m runtime locate runtime/models/demo.jpg "a guitar" "a microphone" "a high heel" --out out/demo.png

test: $(VENV)/dev.stamp  ## install everything and run the tests
	$(BIN)/python -m pytest -m "not slow" -n $(JOBS) --dist loadfile

test-full: $(VENV)/dev.stamp  ## the tests, with the minutes-long ones (the whole RN50 against the oracle)
	$(BIN)/python -m pytest

test-rtx: $(VENV)/dev.stamp $(RTX)/rtx.stamp $(filter out/rtx/%,$(BUNDLES))  ## NVIDIA's own parser and builder over every graph, on the processor
	@mkdir -p out
	PYTHONPATH=. $(RTX)/bin/python -m pytest -c tests/rtx/pytest.ini --rootdir tests/rtx tests/rtx \
	    $(addprefix --bundle ,$(BUNDLES)) --table out/rtx.md
	@cat out/rtx.md

test-ort-gpu: $(ORT)/ort.stamp  ## the strict choice of a card, with the real onnxruntime-gpu wheel (needs no card)
	PYTHONPATH=. $(ORT)/bin/python -m pytest -c tests/ort_gpu/pytest.ini --rootdir tests/ort_gpu tests/ort_gpu

check: $(VENV)/dev.stamp  ## lint, types, room rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

docs: $(VENV)/dev.stamp  ## the documents as a site, in out/site; a link that leads nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --config-file docs/site/mkdocs.yml --site-dir $(CURDIR)/out/site

torture: $(VENV)/dev.stamp  ## mutated pictures, scenes, bundles, words, command lines, and killed writers (SECONDS_LONG=3600: by the hour)
	$(BIN)/python -m tests.torture --seconds $(SECONDS_LONG)

audit: $(VENV)/dev.stamp  ## ask the advisory database about every installed package (needs the network)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python -m pip_audit --skip-editable

sbom: $(VENV)/dev.stamp  ## write out/sbom.json, a CycloneDX list of all installed packages
	@mkdir -p out
	$(BIN)/python -m pip install --quiet --disable-pip-version-check cyclonedx-bom
	$(BIN)/python -m cyclonedx_py environment $(VENV) --output-file out/sbom.json

lock:  ## write .ci/requirements.txt anew: every package of CI with its hashes (Python 3.11, x86-64 Linux; CONSTRAINTS=FILE)
	$(PYTHON) -m venv out/lock && out/lock/bin/python -m pip install --quiet --disable-pip-version-check uv
	out/lock/bin/uv pip compile pyproject.toml --extra cpu --extra export --extra app --extra docs --extra dev --python-version 3.11 \
	    --python-platform x86_64-manylinux_2_28 --generate-hashes --quiet --no-header --no-annotate --output-file .ci/requirements.txt \
	    $(addprefix --constraint ,$(CONSTRAINTS))

bench: $(VENV)/dev.stamp  ## time each part of the way
	$(BIN)/python -m pytest bench --benchmark-only

bench-check: $(VENV)/dev.stamp  ## the same once each, with timing off
	$(BIN)/python -m pytest bench --benchmark-disable

compare: $(VENV)/bench.stamp  ## ours beside PyTorch and the packages of the field (BACKBONE=RN50; its bundles are built once)
	$(BIN)/python -m bench.compare --build --backbone $(BACKBONE)

gpu-install:  ## check the driver, then make the environment of the card (GPU_PYTHON=: check that interpreter instead)
ifeq ($(GPU_TRIAL),)
	@$(PYTHON) bench/gpu/check.py driver
endif
ifdef GPU_PYTHON
	@$(GPU_PYTHON) bench/gpu/check.py build $(GPU_TRIAL)
else
	@$(MAKE) --no-print-directory $(GPU)/gpu.stamp
endif

gpu-bundles:  ## build the bundles to measure, fp16 first, and the answers of float32 on the processor
	$(GPU_RUN) bundles $(GPU_OPTIONS)
	$(GPU_RUN) reference $(GPU_OPTIONS)

gpu-engines:  ## build the TensorRT engines of these bundles
	$(GPU_RUN) engines $(GPU_OPTIONS)

gpu:  ## measure the card, group by group; the record is written after each, and a second run goes on
	@$(GPU_INTERPRETER) bench/gpu/check.py $(GPU_TRIAL)
	$(GPU_RUN) measure $(GPU_OPTIONS)

gpu-compare:  ## ours beside PyTorch on this machine's card
	$(GPU_INTERPRETER) -m bench.compare --device cuda --build

gpu-pack: $(VENV)/dev.stamp  ## one folder, in parts, for a card's machine without a registry: bundles, answers, wheels, a script (PART=MiB)
	$(BIN)/python -m bench.gpu bundles $(GPU_OPTIONS)
	$(BIN)/python -m bench.gpu reference $(GPU_OPTIONS)
	$(BIN)/python -m bench.gpu pack --part $(PART) $(GPU_OPTIONS)

clean:  ## remove what the commands above made
	rm -rf $(VENV) $(GPU) $(RTX) $(ORT) out build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml | $(VENV)/bin/python
	$(INSTALL) --editable '.[cpu]'
	@touch $@

# With LOCKED=1 every package is the one, by hash, of .ci/requirements.txt (Python 3.11 on x86-64 Linux; `make lock` writes it).
$(VENV)/dev.stamp: pyproject.toml | $(VENV)/bin/python
ifdef LOCKED
	$(INSTALL) --require-hashes --requirement .ci/requirements.txt
	$(INSTALL) --no-deps --editable .
else
	$(INSTALL) --editable '.[cpu,export,app,docs,dev]'
endif
	@touch $@ $(VENV)/demo.stamp

# The peers of the comparison stay out of what the tests need.
$(VENV)/bench.stamp: $(VENV)/dev.stamp
	$(INSTALL) --editable '.[cpu,export,app,docs,dev,bench]'
	@touch $@

$(GPU)/bin/python:
	$(PYTHON) -m venv $(GPU)

# [export] asks for `onnxruntime`, whose files lie over those of `onnxruntime-gpu`: one goes, the other is laid anew.
# TensorRT is there where NVIDIA has it for this machine; without it the run says so and goes on.
$(GPU)/gpu.stamp: pyproject.toml | $(GPU)/bin/python
	$(GPU)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[gpu,export]'
	-$(GPU)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[tensorrt]'
	$(GPU)/bin/python -m pip uninstall --quiet --yes onnxruntime
	$(GPU)/bin/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps '$(ONNXRUNTIME_GPU)'
	@touch $@

# TensorRT-RTX comes with ONNX Runtime's plug-in, whose other needs are left out; bundles with random weights are built once.
$(RTX)/bin/python:
	$(PYTHON) -m venv $(RTX)

$(RTX)/rtx.stamp: | $(RTX)/bin/python
	$(RTX)/bin/python -m pip install --quiet --disable-pip-version-check numpy onnx pytest pillow platformdirs opencv-python-headless
	$(RTX)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    onnxruntime-ep-nv-tensorrt-rtx-cu13==0.5.0 tensorrt_rtx_cu13_bindings==1.7.1.116
	@touch $@

out/rtx/%: | $(VENV)/dev.stamp
	@mkdir -p out/rtx
	$(BIN)/python -m export.build --backbone $(word 1,$(subst +, ,$*)) --precision $(word 2,$(subst +, ,$*)) \
	    $(if $(findstring demo,$*),,--pretrained none) --out $@

# The wheel without CUDA's libraries: whoever has them has a card, and `make gpu`.
$(ORT)/ort.stamp:
	$(PYTHON) -m venv $(ORT)
	$(ORT)/bin/python -m pip install --quiet --disable-pip-version-check '$(ONNXRUNTIME_GPU)' onnx pytest --editable .
	@touch $@
