# make help lists the targets. Needs python3 (3.11 or newer) and nothing else; works from GNU make 3.81 on.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup dev run test test-again screenshots attack proof bench bench-quick check walls style rooms imports dependencies types lock docs

PYTHON ?= python3
BIN ?= .venv/bin
TESTS ?=
FUZZER = $(BIN)/../fuzzer
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--annotation-style line --custom-compile-command "make lock" $(UPGRADE)

help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -e 's/:.*##/  -/' -e 's/^/make /'

setup:  ## make .venv with what running needs; a second call takes no time
	@$(PYTHON) -S deploy/setup.py

dev:
	@$(PYTHON) -S deploy/setup.py --dev
	@cmp -s deploy/fuzzer.lock $(FUZZER)/lock || { \
		echo "setup: installing what deploy/fuzzer.lock names" && rm -rf $(FUZZER) && \
		$(BIN)/uv pip install --quiet --no-deps --require-hashes --target $(FUZZER) -r deploy/fuzzer.lock && \
		cp deploy/fuzzer.lock $(FUZZER)/lock; } || echo "setup: without it the test that needs it is skipped"

run: setup  ## run the bots of the environment or .env; with none, a sandbox in the browser
	@verb=$$($(BIN)/python -m bot.variables) && exec $(BIN)/switchboard $$verb

test: check  ## the static checks, then all tests, once (some: TESTS=tests/house)
	@$(BIN)/pytest -n 3 --dist loadscope $(TESTS)

test-again: dev  ## all tests ten times in a row beside busy cores (TIMES=3 TESTS=tests/host)
	@$(BIN)/python -m tests.again $(or $(TIMES),10) $(TESTS)

screenshots: dev  ## make the pictures of the documentation anew (needs a Chromium)
	@SAVE_SCREENSHOTS=1 $(BIN)/pytest -n 0 -q tests/browser -k "phone or approvals or follows"

attack: dev  ## try every known attack again, and say what held (some: ROWS=ssrf, ROWS=A7,66)
	@$(BIN)/python -m tests.attacks $(if $(ROWS),--rows $(ROWS))

proof: dev  ## kill, cut and fill everything, and write docs/reliability.md (SEED=7 ROWS=F1,F2 KILLS=50)
	@$(BIN)/python -m bench.proof --write $(if $(SEED),--seed $(SEED)) $(if $(ROWS),--rows $(ROWS)) \
		$(if $(KILLS),--kills $(KILLS))

bench: dev  ## the host beside what people would write instead, and docs/performance.md (about ten minutes)
	@$(BIN)/python -m bench

bench-quick: dev  ## the ratios to the floors, in less than a minute: did this change cost speed?
	@$(BIN)/python -m bench --quick

check: dev walls dependencies types  ## the static checks alone: style, walls, dependencies, types

walls: style rooms imports

style:
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet || { \
		echo "these files are not formatted: run $(BIN)/ruff format"; $(BIN)/ruff format --check; exit 1; }

rooms:
	@$(BIN)/python deploy/docstrings_only.py bot registry simulators

imports:
	@out=$$($(BIN)/lint-imports --no-logo) || { echo "$$out"; exit 1; }

dependencies:
	@out=$$($(BIN)/deptry --no-ansi bot registry simulators 2>&1) || { echo "$$out"; exit 1; }

types:
	@$(BIN)/mypy

lock: dev  ## write the lock files anew from pyproject.toml (newest versions: UPGRADE=--upgrade)
	@echo uv | $(LOCK) --no-config --no-header - -o deploy/uv.lock
	@echo schemathesis | $(LOCK) --no-config --no-header - -o deploy/fuzzer.lock
	@$(LOCK) pyproject.toml -o requirements.lock
	@$(LOCK) --group pyproject.toml:dev -c requirements.lock pyproject.toml -o requirements-dev.lock

docs: dev  ## write the tables of settings, attacks and requirements in docs/ anew
	@$(BIN)/python deploy/reference.py
	@$(BIN)/python -m tests.attacks --write
	@$(BIN)/python -m tests.requirements --write
