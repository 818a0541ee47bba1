# Two commands for a new clone: `make demo` and `make test`. Both set up .venv by themselves.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
export PYTHONPATH := $(CURDIR)
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help install demo test typescript lint sure clean

help: ## Say what each command does
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/'

install: $(STAMP) ## Make .venv with the pinned versions

$(STAMP): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 install")'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(STAMP)

demo: $(STAMP) ## Run one alignment job through the whole service and show what it did
	$(VENV)/bin/python -m client.demo

test: $(STAMP) lint ## Lint, types, import contracts, and all tests
	# One thread each: two processes with as many threads as cores wait for each other more than they compute.
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist loadfile

typescript: ## Make the TypeScript client from docs/openapi.json and test it (needs Node.js 20 or newer)
	cd typescript && npm ci --no-fund --no-audit && npm test

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

sure: test ## The gate before a change is handed in

clean: ## Remove .venv and what the demo left
	rm -rf $(VENV) demo-output typescript/node_modules typescript/dist typescript/src/schema.ts
