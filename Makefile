# Every command makes what it needs: a virtual environment in .venv, re-used until pyproject.toml
# changes. `make PYTHON=/path/to/python3.12 ...` picks the interpreter.

PYTHONS := $(or $(PYTHON),python3.11 python3.12 python3.13 python3)
VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --quiet --disable-pip-version-check
CHECKED := keras_reprogram tests examples docs_site .ci

# Several test processes, one thread each: small models gain nothing from more.
ONE_THREAD := TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1

# One more than two cores can feed: tests wait for servers and other processes now and then.
WORKERS ?= 3

export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow bench docs docs-serve lint format build release-check clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-13s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.installed-plain  ## 100 digits, a source that shows its scores only, and an export to try
	$(BIN)/keras-reprogram demo

test: lint  ## lint, types and the fast tests
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --durations=5

test-slow: $(VENV)/.installed-dev  ## what needs real weights, real data or long runs
	@for name in KERAS_HOME KERAS_REPROGRAM_DATA KERAS_REPROGRAM_MODELS TFDS_DATA_DIR; do \
	  if [ -z "$$(printenv $$name)" ]; then echo "$$name is not set: tests that need it are skipped"; fi; \
	done
	$(ONE_THREAD) $(BIN)/python -m pytest -m slow -n $(WORKERS) --dist loadfile -o timeout=7200 -rs --durations=20

bench: $(VENV)/.installed-dev  ## time the parts beside each other; tables in bench/ (BENCH="--quick --only NAME")
	$(BIN)/python examples/benchmark/bench.py $(BENCH)

# Strict: a warning is an error. The line that is silenced announces another version of MkDocs.
docs: $(VENV)/.installed-dev  ## the documentation as a site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

docs-serve: $(VENV)/.installed-dev  ## show it on http://127.0.0.1:8000/, built again when a page changes
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --dev-addr 127.0.0.1:8000

lint: $(VENV)/.installed-dev  ## ruff check, ruff format --check, mypy
	$(BIN)/ruff check $(CHECKED)
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/mypy keras_reprogram

format: $(VENV)/.installed-dev  ## let ruff repair imports and layout
	$(BIN)/ruff check --fix $(CHECKED)
	$(BIN)/ruff format $(CHECKED)

build: $(VENV)/.installed-dev  ## sdist and wheel in dist/
	$(BIN)/python -m build --no-isolation --outdir dist

release-check: $(VENV)/.installed-dev  ## version, tag, and the wheel in a bare environment of each Python there is
	$(BIN)/python .ci/release_check.py $(PYTHONS)

clean:  ## remove environment, builds and caches; saved_models stays
	rm -rf $(VENV) dist site .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The dev environment is built on the plain one, so that `make -j demo test` never runs pip twice
# at a time in the same folder. The plain one has the server, which the demo ends with.
$(VENV)/.installed-plain: pyproject.toml | $(BIN)/python
	@echo "installing keras-reprogram into $(VENV) (minutes the first time)"
	@$(PIP) install --editable '.[server]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-plain
	@echo "installing the development tools into $(VENV)"
	@$(PIP) install --editable '.[dev]'
	@touch $@

$(BIN)/python:
	@for python in $(PYTHONS); do \
	  if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    echo "making $(VENV) with $$python"; \
	    "$$python" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }; \
	    exit 0; \
	  fi; \
	done; \
	echo "Python 3.11, 3.12 or 3.13 is needed. Tried: $(PYTHONS)." >&2; \
	echo "Install one of them, or name it: make PYTHON=/path/to/python3.11" >&2; \
	exit 1
