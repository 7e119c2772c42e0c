SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
UV_VERSION := 0.13.9
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The scripts in an environment name its folder: one that was moved or copied with the repository runs the old folder's packages, or nothing.
MADE_IN := $(shell sed -n 's/^command = .* -m venv \(--clear \)\?//p' $(VENV)/pyvenv.cfg 2>/dev/null)
MOVED := $(if $(MADE_IN),$(shell [ "$(MADE_IN)" = "$(CURDIR)/$(VENV)" ] || echo --clear))
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# In another encoding, DVC cannot name all files.
export PYTHONUTF8 := 1

.PHONY: $(if $(MOVED),$(READY)) help env repro test test-slow coverage check deps compare bench fuzz ui sample teachers network ship

help: ## Show what make can do
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(READY) ## Create .venv from requirements.lock

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "error: Python 3.11, 3.12 or 3.13 is required; install one, or run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(MOVED) $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@# Compiled once here: where Python may write no bytecode, as in many containers, each process would compile TensorFlow for 6 s.
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

repro: $(READY) ## Fetch the data, run the pipeline, and show what came out
	@if grep -q 'remote: sample' data.dvc; then $(BIN)/dvc pull --quiet --remote sample data.dvc; fi
	$(BIN)/dvc repro
	@$(BIN)/vfer summary

test: $(READY) ## Run the tests
	$(BIN)/pytest

test-slow: $(READY) ## Run the tests that take minutes
	$(BIN)/pytest -m slow

coverage: $(READY) ## Run the tests and show the lines and branches they miss
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

check: $(READY) ## Lint, format and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/vfer deps --check

deps: $(READY) ## Write what dvc.yaml knows of the code and the packages
	$(BIN)/vfer deps

compare: $(READY) ## Train every method under every protocol, and show the table
	@if grep -q 'remote: sample' data.dvc; then $(BIN)/dvc pull --quiet --remote sample data.dvc; fi
	$(BIN)/dvc repro comparison/dvc.yaml
	@cat outputs/comparison/compare/table.md

bench: $(READY) ## Measure all, or ONLY=loading,added, into benchmarks/RESULTS.md
	$(BIN)/python -m benchmarks --only "$(ONLY)"

fuzz: $(READY) ## Decode CLIPS=2000 mutated clips of six containers; any that is not refused or decoded is a failure
	$(BIN)/python -m benchmarks.fuzz --clips "$(or $(CLIPS),2000)" --seed "$(or $(SEED),7)"

ui: $(READY) ## Open the MLflow UI on http://127.0.0.1:5000
	@$(BIN)/vfer relocate
	$(BIN)/mlflow ui --host 127.0.0.1 --port 5000 --backend-store-uri "$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}"

sample: $(READY) ## Render the embedded sample again (for maintainers)
	rm -rf data && $(BIN)/vfer data render data
	sed '/remote: sample/d; /push: false/d' data.dvc > data.dvc.new && mv data.dvc.new data.dvc  # macOS has another sed -i
	$(BIN)/dvc add --quiet data && rm -rf sample && $(BIN)/dvc push --quiet --remote sample data.dvc
	printf '  remote: sample\n  push: false\n' >> data.dvc

teachers: $(READY) ## Train the teachers of the network that comes with vfer (for maintainers; hours, or minutes with a GPU)
	$(BIN)/python -m benchmarks.network --teachers

network: $(READY) ## Train the network that comes with vfer (for maintainers)
	$(BIN)/python -m benchmarks.network

ship: $(READY) ## Pack outputs/cnn as the network that comes with vfer (for maintainers)
	$(BIN)/python -m benchmarks.ship
