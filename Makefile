# Everything a developer or CI runs. Each target sets up what it needs: system packages, .venv, Python packages.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Test processes at a time.
WORKERS ?= 2
# Further arguments for pytest or for `colipri demo`.
ARGS ?=

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
INSTALL := $(PIP) install -qq -c constraints.txt
PYTEST := scripts/with_display.sh $(BIN)/python -m pytest
PARITY := $(VENV)/parity/bin/python
export PIP_ROOT_USER_ACTION := ignore

##@ The three that matter
.PHONY: demo test lint
demo: $(STAMP)-demo ## open a generated chest CT in napari, analysed (without a display: a picture, out/demo.png)
	@scripts/demo.sh $(BIN)/colipri out/demo.png $(ARGS)

test: $(STAMP)-test $(STAMP)-parity ## run the test suite: no network, no GPU
	@mkdir -p out
	OMP_NUM_THREADS=1 $(PYTEST) -n $(WORKERS) --dist loadfile --ignore tests/parity --junitxml out/tests.xml $(ARGS)
	OMP_NUM_THREADS=1 $(PARITY) -m pytest -n $(WORKERS) --dist loadfile --junitxml out/parity.xml tests/parity

lint: $(STAMP)-lint ## ruff, mypy --strict on the core, import contracts, spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/codespell

##@ More checks
.PHONY: format check-install test-web web-image test-slow test-slicer test-gpu parity-full bench fuzz soak openapi docs-images
format: $(STAMP)-lint ## let ruff sort imports, fix and format
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format

check-install: $(STAMP)-parity ## check that no CUDA package came in on a machine without a GPU
	@$(PARITY) -m pip --disable-pip-version-check check
	@$(PARITY) scripts/check_install.py $(ARGS)

test-slow: $(STAMP)-test ## the tests that take minutes
	$(PYTEST) -m slow --ignore tests/parity $(ARGS)

test-slicer: $(STAMP)-test ## the Slicer module on real MRML, in two versions of slicer-core
	@scripts/slicer_tests.sh $(BIN)/python $(ARGS)

test-web: $(STAMP)-test-web ## the browser view in headless Chromium (fetches the viewer library from npm's registry once)
	OMP_NUM_THREADS=1 $(PYTEST) tests/web $(ARGS)

web-image: $(STAMP)-test-web ## draw the picture of the browser view (CT=path)
	PYTHONPATH=tests $(BIN)/python scripts/web_picture.py docs/images/web_view.png "$(CT)" $(ARGS)

test-gpu: $(STAMP)-test ## the tests that need a GPU
	$(PYTEST) -m gpu --ignore tests/parity $(ARGS)

parity-full: $(STAMP)-parity ## compare with the official package at the published size (258 M parameters)
	$(PARITY) -m pytest -m full_size tests/parity $(ARGS)

bench: $(STAMP)-parity ## run every benchmark; each prints a table and writes its JSON
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(PARITY) "$$script"; done

fuzz: $(STAMP)-test ## ask a server all that is wrong, at length: by its schema, odd prompts, 100,000 damaged bodies
	@$(BIN)/python scripts/fuzz_server.py $(ARGS)

soak: $(STAMP)-test ## 8 clients at a server for 5 minutes (ARGS="--minutes 1")
	@$(BIN)/python benchmarks/soak.py $(ARGS)

openapi: $(STAMP)-test ## write docs/reference/openapi.json anew
	@$(BIN)/python scripts/openapi.py

docs-images: $(STAMP)-demo ## render the pictures of README.md and docs/
	$(BIN)/colipri demo --screenshot docs/images/window.png $(ARGS)
	$(BIN)/python scripts/findings_picture.py docs/images/window.png docs/images/findings.png
	$(BIN)/python scripts/report_picture.py docs/images/report.png
	$(BIN)/python scripts/similar_picture.py docs/images/similar.png
	scripts/slicer_tests.sh $(BIN)/python tests/slicer/mrml -k pictures --pictures docs/images
	cp docs/images/slicer_label.png slicer_extension/Screenshots/label.png
	cp docs/images/slicer_panels.png slicer_extension/Screenshots/panels.png
	$(BIN)/python scripts/label_picture.py docs/images/label.png docs/images/project.png

##@ Housekeeping
.PHONY: help clean
help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

clean: ## remove .venv, caches and outputs
	rm -rf $(VENV) .venv-slicer out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# Set-up: one stamp for each set of packages, renewed when pyproject.toml or constraints.txt change.

$(STAMP)-python:
	@scripts/system_packages.sh
	@rm -rf $(VENV)
	@"$$(scripts/find_python.sh)" -m venv $(VENV)
	@touch $@

# First and alone, so that no other package's requirement chooses another build of torch.
$(STAMP)-torch: constraints.txt | $(STAMP)-python
	@echo "Installing torch ..."
	@$(PIP) install -qq "$$(grep '^torch==' constraints.txt)"
	@touch $@

# Drawing needs Debian packages; looking for them takes a moment and is done every time.
.PHONY: display
display: | $(STAMP)-python
	@scripts/system_packages.sh display

$(STAMP)-demo: pyproject.toml $(STAMP)-torch | display
	@echo "Installing .[napari,pyside6,local] ... (a minute or two the first time)"
	@$(INSTALL) --editable '.[napari,pyside6,local]'
	@touch $@

$(STAMP)-test: pyproject.toml $(STAMP)-torch | display
	@echo "Installing .[test] ... (a minute or two the first time)"
	@$(INSTALL) --editable '.[test]'
	@touch $@

$(STAMP)-test-web: pyproject.toml $(STAMP)-test
	@scripts/system_packages.sh browser
	@echo "Installing .[test-web] ..."
	@$(INSTALL) --editable '.[test-web]'
	@touch $@

# The official package needs torchvision, whose build for CUDA keeps transformers from being imported under CPU torch.
# So it has an environment of its own, and everything else is tested in one like a user's.
$(STAMP)-parity: $(STAMP)-test
	@echo "Installing the official package ..."
	@scripts/layered_venv.sh $(VENV) $(VENV)/parity
	@$(PARITY) -m pip --disable-pip-version-check --no-input install -qq -c constraints.txt colipri torchvision
	@touch $@

$(STAMP)-lint: pyproject.toml $(STAMP)-torch
	@echo "Installing .[lint] ... (a minute or two the first time)"
	@$(INSTALL) --editable '.[lint]'
	@touch $@
