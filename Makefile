# What there is to do here: `make` lists it. From a machine with Python 3.11 or later and nothing else, each target
# makes .venv and installs into it what requirements.lock names, by uv where it is on PATH and by pip otherwise.

MIN_PYTHON := 3.11
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
	$(name) -c 'import sys; sys.version_info[:2] >= (3, 11) and print("$(name)")' 2>/dev/null)))
UV ?= $(shell command -v uv 2>/dev/null)
BIN := .venv/bin
INSTALLED := .venv/.installed

# Passed on: make dev ARGS="--port 9000", make test ARGS="tests/unit -k quorum".
ARGS ?=
# Test processes; each starts its own servers. Many tests wait for processes, so one more than two cores.
TESTERS ?= 3
# How much of the fault suite: slice, ci or long.
TIER ?= long
# What `make dev` runs.
MODULES ?= refund,loan,publish

export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help dev test long chaos mutants check bench bench-guard lock install clean
.DEFAULT_GOAL := help

help:
	@echo 'make dev    everything in one terminal: PostgreSQL, broker, worker, beat, API, with the examples loaded'
	@echo 'make test   the tests, against real servers'
	@echo 'make long   the tests that take long: every route by every role, every stop, every unit of deploy/'
	@echo 'make chaos  the fault suite, for two hours; TIER=ci for ten minutes, ARGS="--promise 1,4 --seed 7" for a part'
	@echo 'make mutants  each guard taken out: whether the fault suite catches it'
	@echo 'make check  ruff, format, mypy, import-linter'
	@echo 'make bench  speed and growth, beside bare Celery chains and other systems: half an hour'
	@echo 'make bench-guard  whether steps are grossly slower than when that was last run'
	@echo 'make lock   requirements.lock and deploy/requirements.lock anew from pyproject.toml (needs uv)'
	@echo 'make clean  remove .venv and caches; .signoff stays'

dev: $(INSTALLED)
	@SIGNOFF_MODULES="$${SIGNOFF_MODULES-$(MODULES)}" PYTHONPATH="examples$${PYTHONPATH:+:$$PYTHONPATH}" \
		exec $(BIN)/signoff dev $(ARGS)

test: $(INSTALLED)
	@exec $(BIN)/python -m pytest -n $(TESTERS) --dist loadgroup $(ARGS)

long: $(INSTALLED)
	@exec $(BIN)/python -m pytest -n $(TESTERS) --dist loadgroup -m long $(ARGS)

chaos: $(INSTALLED)
	@exec $(BIN)/python -m tests.chaos --tier $(TIER) $(ARGS)

mutants: $(INSTALLED)
	@exec $(BIN)/python -m tests.chaos.mutants $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED)
	@exec $(BIN)/python -m tests.bench $(ARGS)

bench-guard: $(INSTALLED)
	@exec $(BIN)/python -m tests.bench.guard

# Run by `uv`, because no other tool writes hashes for every platform at once. No index address gets into the files.
# The second is what the image installs: what runs, and hatchling to build it; it names the first one's versions.
COMPILE = $(UV) pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --custom-compile-command 'make lock' --python-version $(MIN_PYTHON)

lock:
	@test -n "$(UV)" || { echo 'make lock needs uv on PATH' >&2; exit 1; }
	$(COMPILE) --extra dev pyproject.toml --output-file requirements.lock $(ARGS)
	echo hatchling | $(COMPILE) --extra oidc --constraints requirements.lock pyproject.toml - --output-file deploy/requirements.lock

install: $(INSTALLED)

# The project itself comes last, built by the locked hatchling: build isolation would fetch one that no hash vouches for.
$(INSTALLED): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo 'Signoff needs Python $(MIN_PYTHON) or later; none was found' >&2; exit 1; }
	@echo 'installing into .venv, once'
ifneq ($(UV),)
	@$(BIN)/python -c '' 2>/dev/null || $(UV) venv --quiet --clear --python $(PYTHON) .venv
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv || \
		{ echo 'python3 -m venv failed: on Debian, apt-get install python3-venv; or install uv' >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
endif
	@touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
