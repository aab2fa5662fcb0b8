# Every target sets up what it needs. Paths are relative, so a folder with a space in its name works;
# pip is called without any index option, so the user's own pip configuration holds.

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-contract lint up bench conformance lock clean infra-validate infra-generate-env infra-env-check infra-apply-ssot

VENV := .venv
PYTHON := $(VENV)/bin/python
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 $(PYTHON) -m pip
# The platform's data folder of `make up`.
DATA ?= data
PORT ?= 8080
# Where the W3C's test suites lie; `make conformance` says where to get them. `make test` looks there too.
SUITES ?= ../shared/suites
# How many files of tests run at a time; 0 is one after the other, in pytest's own process.
WORKERS ?= 2
# Passed on: `make test ARGS="tests/proofs -x"`, `make demo ARGS="--keep kept"`.
ARGS ?=
# What the runtime assets and integration endpoints are declared in, and the variables that it becomes.
TOPOLOGY ?= topology.yaml
ENV_FILE ?= topology.env

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-18s %s\n", $$1, $$2}' Makefile

setup: $(VENV)/.project ## create .venv and install everything, pinned by hash
	@echo "Ready: $(BIN)/fractalops --help"

demo: $(VENV)/.project ## run the platform and a small shop, show the graph that the shop's telemetry becomes
	$(BIN)/fractalops demo $(ARGS)

test: lint ## everything: format, lint, types, import floors, tests
	$(PYTHON) -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-contract: $(VENV)/.project ## ask every operation of the HTTP API, rightly and wrongly, far more often than make test does
	$(PYTHON) -m pytest -m "long or not long" tests/live/test_schemathesis.py tests/live/test_contract.py tests/graph_api/test_described_routes.py $(ARGS)

lint: $(VENV)/.project ## format, lint and types only
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

up: $(VENV)/.project ## run the platform on DATA (default: data) and PORT (default: 8080)
	$(BIN)/fractalops up --data "$(DATA)" --port $(PORT) $(ARGS)

bench: $(VENV)/.project ## measure, and print each figure beside its baseline
	$(PYTHON) tests/bench $(ARGS)

conformance: $(VENV)/.project ## run the public test suites in SUITES, write EARL reports and docs/conformance.md
	$(PYTHON) -m tests.conformance --suites "$(SUITES)" $(ARGS)

infra-validate: $(VENV)/.project ## check TOPOLOGY (default: topology.yaml) against its form and the shapes
	$(BIN)/fractalops infra validate "$(TOPOLOGY)" $(ARGS)

infra-generate-env: $(VENV)/.project ## write the environment variables of TOPOLOGY to ENV_FILE (default: topology.env)
	$(BIN)/fractalops infra generate-env "$(TOPOLOGY)" --env-file "$(ENV_FILE)" $(ARGS)

infra-env-check: $(VENV)/.project ## compare the variables in ENV_FILE with those of TOPOLOGY
	$(BIN)/fractalops infra env-check "$(TOPOLOGY)" --env-file "$(ENV_FILE)" $(ARGS)

infra-apply-ssot: $(VENV)/.project ## propose TOPOLOGY to the platform on DATA; a person decides
	$(BIN)/fractalops infra apply "$(TOPOLOGY)" --data "$(DATA)" $(ARGS)

lock: $(VENV)/.project ## pin requirements.txt again from pyproject.toml (needs the network)
	$(PYTHON) -m uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --upgrade --quiet \
		--custom-compile-command "make lock" --output-file requirements.txt

clean: ## remove .venv and every cache (not the data folder)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build
	find . -name __pycache__ -prune -exec rm -rf {} +

# The first Python on PATH that is new enough makes the environment.
$(VENV)/.created:
	@for python in python3 python3.13 python3.12 python3.11; do \
		if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found="$$python"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "Python 3.11 or newer is needed and none is on PATH. Install one, then run make again." >&2; exit 1; \
	fi; \
	echo "Creating $(VENV) with $$("$$found" --version)"; \
	if ! "$$found" -m venv --clear $(VENV); then \
		rm -rf $(VENV); \
		echo "$$found could not create a virtual environment. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; \
	fi
	@touch $@

$(VENV)/.requirements: requirements.txt $(VENV)/.created
	@echo "Installing requirements.txt, every file checked by its hash (a minute or two the first time)"
	$(PIP) install --quiet --require-hashes -r requirements.txt
	@touch $@

# --no-build-isolation and --no-deps: everything needed is installed by now, so the network isn't.
$(VENV)/.project: pyproject.toml stewards/datahub/pyproject.toml $(VENV)/.requirements
	$(PIP) install --quiet --no-deps --no-build-isolation --editable . --editable stewards/datahub
	@touch $@
