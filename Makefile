# Everything a person or CI does here. Needs: Python >= 3.11, make, and a Python package index.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
UV     := .tools/bin/uv
ARGS   ?=
# Tests mostly wait for processes of their own, so there may be more of them than cores.
WORKERS ?= 4

# uv has its own names for what pip users set.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
export UV_PYTHON_DOWNLOADS := never
export UV_NO_CONFIG := 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test bench check lint typecheck architecture proto-check pytest fmt generate lock clean

help: ## Show this list.
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(UV): requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@rm -rf .tools && mkdir -p .tools
	@$(PYTHON) -m venv .tools/venv >/dev/null 2>&1 \
	  && .tools/venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt --prefix .tools/prefix \
	  || $(PYTHON) -m pip install -q --disable-pip-version-check --require-hashes -r requirements/uv.txt --prefix .tools/prefix
	@mkdir -p .tools/bin && ln -sf "$$(find "$$PWD/.tools/prefix" -type f -name uv -perm -u+x | head -n 1)" $(UV) && touch -h $(UV)

$(VENV)/.ready: $(UV) requirements/dev.txt pyproject.toml
	@$(UV) venv -q --clear --python "$$($(PYTHON) -c 'import sys; print(sys.executable)')" $(VENV)
	@VIRTUAL_ENV=$(VENV) $(UV) pip sync -q --require-hashes requirements/dev.txt
	@VIRTUAL_ENV=$(VENV) $(UV) pip install -q --no-deps --no-build-isolation --offline -e .
	@touch $@

setup: $(VENV)/.ready ## Make .venv from the lock file (the other targets do it when needed).

demo: setup ## The main job, offline: ARGS="--once --json" for a machine.
	@$(BIN)/gateway-worker demo $(ARGS)

test: check pytest ## Everything a reviewer runs.

check: lint typecheck architecture proto-check ## Formatting, lint, types, layers, contract.

lint: setup
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

typecheck: setup
	@$(BIN)/mypy

architecture: setup
	@PYTHONPATH=. $(BIN)/lint-imports --no-cache

proto-check: setup
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/protos.py check

pytest: setup
	@# What fails beside the others is run once more alone: real processes on busy cores miss deadlines that they keep alone.
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS) || $(BIN)/python -m pytest --last-failed --last-failed-no-failures none

bench: setup ## Throughput, latency, memory, reconnect: ARGS=--json for a last line of JSON.
	@$(BIN)/python -m tests.bench $(ARGS)

fmt: setup ## Format code and protos.
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix . && $(BIN)/buf format -w

generate: setup ## Regenerate generated/ from proto/.
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/protos.py generate

lock: $(UV) ## Resolve the newest versions into requirements/.
	@$(UV) pip compile -q --universal --upgrade --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 requirements/uv.in -o requirements/uv.txt
	@$(UV) pip compile -q --universal --upgrade --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 pyproject.toml --extra simulator -o requirements/runtime.txt
	@$(UV) pip compile -q --universal --upgrade --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 pyproject.toml --extra simulator --group dev -c requirements/runtime.txt -o requirements/dev.txt

clean: ## Remove what the other targets made.
	@rm -rf $(VENV) .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
