# One virtual environment, two stamps: what the server needs (run), and what its developers need (the rest).
# Versions come from requirements-dev.lock in both.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
LOCK := requirements-dev.lock
PAGE := hatch_build.py $(shell find web -name node_modules -prune -o -type f -print)
# The page is built into the sources. Where it lacks, for they were replaced or it was skipped, installing again builds it.
LACKING := $(if $(SKIP_PAGE)$(wildcard src/tracker_server/page/static/index.html),,page-lacks)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export UV_LINK_MODE := copy
# Each command is a process of its own: without compiled files it spends a second on compiling its imports.
export UV_COMPILE_BYTECODE := 1
unexport PYTHONDONTWRITEBYTECODE
export TRACKER_GOLDEN_DIR ?= ../shared/golden

# ---------------------------------------------------------------------------------------------------- to use it

.PHONY: help
help: ## what there is
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(VENV)/.runtime ## install what the server needs and start it (settings: config/tracker-server.toml, TRACKER_…)
	@exec $(BIN)/tracker-server serve $(ARGS)

# ---------------------------------------------------------------------------------------------------- to work on it

.PHONY: install
install: $(VENV)/.runtime ## install what the server needs, and nothing else

.PHONY: dev
dev: $(VENV)/.dev ## install what developers need

.PHONY: test
test: $(VENV)/.dev ## all tests that this machine can run; says what it skipped and how to get it
	$(BIN)/pytest $(ARGS)

.PHONY: check
check: $(VENV)/.dev ## everything that reads the code without running it, and the golden frames where they are
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright --warnings
	$(BIN)/lint-imports
	$(BIN)/python hatch_build.py check
	scripts/check-golden

.PHONY: format
format: $(VENV)/.dev ## mend what can be mended
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: bench
bench: $(VENV)/.dev ## the short set of benchmarks; results go to benchmarks/results
	$(BIN)/python benchmarks/run.py $(ARGS)

TIME ?= 60
SEED ?= $(shell echo $$RANDOM)

.PHONY: chaos
chaos: $(VENV)/.dev ## break everything for TIME seconds under load and see what was kept; SEED replays a run
	$(BIN)/python -m tests.chaos.run --seed $(SEED) --time $(TIME) $(ARGS)

ROUNDS ?= 5

.PHONY: oracle
oracle: $(VENV)/.dev ## random fences and routes against a real server and an oracle, ROUNDS times; SEED replays a run
	TRACKER_TEST_TRACK_ROUNDS=$(ROUNDS) TRACKER_TEST_TRACK_SEED=$(SEED) $(BIN)/pytest -q -s tests/e2e/test_fence_oracle.py tests/e2e/test_track.py

.PHONY: fuzz
fuzz: $(VENV)/.dev ## bytes that nobody meant against every reader of bytes, for TIME seconds
	$(BIN)/python -m tests.fuzz.run --seed $(SEED) --time $(TIME) $(ARGS)

.PHONY: bench-full
bench-full: $(VENV)/.dev ## all benchmarks, longer and with up to ten million rows: half an hour or so
	$(BIN)/python benchmarks/run.py --full $(ARGS)

.PHONY: bench-compare
bench-compare: $(VENV)/.dev ## whether B became slower than A; each a result file, or a commit that has one
	$(BIN)/python benchmarks/compare.py $(A) $(B)

.PHONY: timescaledb
timescaledb: ## a TimescaleDB for the tests in .cache (needs root and debootstrap)
	scripts/timescaledb install

.PHONY: tables
tables: $(VENV)/.dev ## write what is generated from the code: reference pages, settings file, ports, tables of protocols
	$(BIN)/python -m tracker_protocols.catalogue > protocols/README.md.new
	mv protocols/README.md.new protocols/README.md
	$(BIN)/python -m tracker_server.cli.reference
	$(BIN)/python tests/billing/rules_table.py
	$(BIN)/python -m tests.api.clients_table
	$(BIN)/python scripts/tables.py

.PHONY: pictures
pictures: $(VENV)/.dev ## take the tutorial's pictures anew (needs Chromium)
	TRACKER_TEST_SCREENSHOTS=1 $(BIN)/pytest tests/page -k "pictures or printed or block or fence or report"

WALK ?= .cache/walk
.PHONY: walk
walk: $(VENV)/.dev ## the page's every view and dialog in every language and dress; pictures go to WALK (needs Chromium)
	TRACKER_TEST_WALK=$(WALK) $(BIN)/pytest -q tests/page/test_walk.py $(ARGS)

.PHONY: mutants
mutants: $(VENV)/.dev ## break each promise of billing on purpose; the tests must notice
	$(BIN)/python tests/billing/run_mutants.py $(ARGS)

.PHONY: lock
lock: $(VENV)/.made ## take the newest versions that pyproject.toml allows
	$(UV) pip compile pyproject.toml --group dev --generate-hashes --python-version 3.11 --upgrade -q -o $(LOCK)

.PHONY: clean
clean: ## remove what was made here, but neither data nor the virtual environment
	rm -rf build dist web/node_modules src/tracker_server/page/static .cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	find src protocols tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------------------------------------------- what these need

$(VENV)/.made: scripts/make-venv Makefile
	@scripts/make-venv $(VENV) $(UV_VERSION)
	@touch $@

# The lock constrains, so that a server gets the versions that were tested, without the developers' tools.
# Installing builds the web page (hatch_build.py), where it is not built yet.
INSTALL := $(UV) pip install --quiet --reinstall-package tracker-server

$(VENV)/.runtime: $(VENV)/.made pyproject.toml $(LOCK) $(PAGE) $(LACKING)
	$(INSTALL) --constraint $(LOCK) --editable .
	@touch $@

.PHONY: page-lacks
page-lacks:

$(VENV)/.dev: $(VENV)/.made pyproject.toml $(LOCK) $(PAGE)
	$(UV) pip install --quiet --requirement $(LOCK)
	$(INSTALL) --no-deps --editable .
	@touch $@ $(VENV)/.runtime
