# Everything a newcomer or a CI needs, each in one word. Python 3.11 or newer and make are all that is assumed.
#
#   make setup      the environment for working on Andon, in .venv (the command is .venv/bin/andon)
#   make demo       a living line on real data: installs what it needs to run, nothing more, and plays a story
#   make test       the tests that every commit passes, shared among the cores, four at most (JOBS=0: in one process)
#   make test-all   also the long simulations and soak runs
#   make bench      the benchmarks, one after the other (wrk must be installed for the serving ones)
#   make lint       style, types and import contracts
#   make docs       the pages of docs/ that are made from the code
#   make pictures   the pictures of the board in docs/pictures/ (STORY=folder takes a story that was played already)

PYTHON ?= python3
JOBS ?= auto
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.andon-runtime
DEV := $(VENV)/.andon-dev
BENCHES = $(basename $(notdir $(shell grep -l '^if __name__' benchmarks/*.py)))

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.PHONY: setup demo test test-all bench lint docs pictures
.DEFAULT_GOAL := setup

setup: $(DEV)

demo: $(RUNTIME)
	$(BIN)/andon demo

test: $(DEV)
	$(BIN)/python -m pytest -q -m "not slow" -n $(JOBS) --maxprocesses 4 --dist loadscope --no-loadscope-reorder

test-all: $(DEV)
	ANDON_FUZZ=1 $(BIN)/python -m pytest -q

bench: $(DEV)
	@set -e; for name in $(BENCHES); do echo "== $$name"; $(BIN)/python -m benchmarks.$$name; done

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DEV)
	$(BIN)/python scripts/docs.py

pictures: $(DEV)
	scripts/machine
	$(BIN)/python scripts/pictures.py $(STORY)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Andon needs Python 3.11 or newer, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)." \
	       "Name another one: make PYTHON=python3.12 $(or $(MAKECMDGOALS),setup)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# A stamp is younger than what it was made from, so that a second `make` does nothing.
$(DEV): requirements/dev.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(DEV) $(RUNTIME)

# What `make setup` installed is enough to run; without it only the runtime is installed.
$(RUNTIME): requirements/runtime.txt pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/runtime.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(RUNTIME)
