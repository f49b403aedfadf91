# Two commands for a newcomer: `make demo` and `make test`. `make` alone lists all of them.
SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
VENV   ?= .venv
BIN    := $(VENV)/bin
# Where an environment forbids to keep bytecode, each run would compile all tests anew: 10 s.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest
FAULT_SECONDS ?= 60
SOURCES := callsheet connectors sinks stack finance migrations tests benchmarks

.PHONY: help setup demo test test-fast test-faults bench lint format lock clean

help: ## list the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## virtual environment, locked dependencies, the native decoder where cargo is

$(VENV)/.ready: requirements-dev.lock pyproject.toml $(shell find native -type f -not -path '*/target/*' 2>/dev/null)
	@VENV="$(VENV)" bash stack/bootstrap.sh
	@touch $@

demo: setup ## from nothing to a running pipeline on real films, with progress
	@$(BIN)/callsheet demo

# Two at a time, each with servers of its own: they wait more than they work. By file, in the order of
# the folders: the long ones first.
test: setup ## all tests, on real servers that the suite starts and stops by itself
	@$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder

test-fast: setup ## the tests that need no server (under 60 s)
	@CALLSHEET_EXAMPLES=0.25 $(PYTEST) -m "not stack and not slow" -n auto

test-faults: setup ## every fault against all four stores, servers away for FAULT_SECONDS; results in docs/reliability.md
	@$(PYTEST) tests/fault/test_every_store_*.py --fault-seconds $(FAULT_SECONDS)
	@$(BIN)/python -m tests.support.reliability

bench: setup ## every benchmark, results in benchmarks/results/
	@$(BIN)/python -m benchmarks

lint: setup ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: setup ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: setup ## compile both lock files anew, with hashes and without index addresses
	@$(BIN)/uv pip compile -q pyproject.toml --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --universal -o requirements.lock
	@$(BIN)/uv pip compile -q pyproject.toml --group dev --generate-hashes --no-emit-index-url --no-header --python-version 3.11 --universal -o requirements-dev.lock

clean: ## the virtual environment and caches of this checkout
	@rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
