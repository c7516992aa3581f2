# make help lists the targets. Needs python3 (3.11 or newer) and nothing else; works from GNU make 3.81 on.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup dev run test test-again screenshots attack proof bench bench-quick check walls style rooms imports dependencies types lock docs

PYTHON ?= python3
BIN ?= .venv/bin
TESTS ?=
unexport PYTHONDONTWRITEBYTECODE  # each worker would compile all of it again
FUZZER = $(BIN)/../fuzzer
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--annotation-style line --custom-compile-command "make lock" $(UPGRADE)

help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -e 's/:.*##/  -/' -e 's/^/make /'

setup:  ## make .venv with what running needs; takes no time if it is up to date
	@$(PYTHON) -S deploy/setup.py

dev:
	@$(PYTHON) -S deploy/setup.py --dev
	@cmp -s deploy/fuzzer.lock $(FUZZER)/lock || { \
		echo "setup: installing what deploy/fuzzer.lock names" && rm -rf $(FUZZER) && \
		$(BIN)/uv pip install --quiet --no-deps --require-hashes --target $(FUZZER) -r deploy/fuzzer.lock && \
		cp deploy/fuzzer.lock $(FUZZER)/lock; } || echo "setup: without it the test that needs it is skipped"

run: setup  ## run the bots in the environment or .env; without any, a sandbox in the browser
	@verb=$$($(BIN)/python -m bot.variables) && exec $(BIN)/switchboard $$verb

# The types take a core for half a minute without their cache: the tests run beside them.
test: dev walls dependencies  ## the static checks and all tests, once (some: TESTS=tests/house)
	@said=$$(mktemp) && trap 'rm -f "$$said"' EXIT && \
	{ $(BIN)/mypy >"$$said" 2>&1 & types=$$!; \
	$(BIN)/pytest -n 3 --dist loadscope $(TESTS); tests=$$?; \
	wait $$types; types=$$?; cat "$$said"; [ $$tests -eq 0 ] && [ $$types -eq 0 ]; }

test-again: dev  ## all tests ten times in a row while the cores are busy (TIMES=3 TESTS=tests/host)
	@$(BIN)/python -m tests.again $(or $(TIMES),10) $(TESTS)

screenshots: dev  ## remake the pictures in the documentation (needs Chromium)
	@SAVE_SCREENSHOTS=1 $(BIN)/pytest -n 0 -q tests/browser -k "phone or approvals or follows or admin or concierge"

attack: dev  ## rerun every known attack, and report which were stopped (some: ROWS=ssrf, ROWS=A7,66)
	@$(BIN)/python -m tests.attacks $(if $(ROWS),--rows $(ROWS))

proof: dev  ## kill, freeze and cut everything, and write docs/reliability.md (SEED=7 ROWS=F1,F2 KILLS=50)
	@$(BIN)/python -m bench.proof --write $(if $(SEED),--seed $(SEED)) $(if $(ROWS),--rows $(ROWS)) \
		$(if $(KILLS),--kills $(KILLS))

bench: dev  ## measure the host against what people would write instead, and write docs/performance.md (ten minutes)
	@$(BIN)/python -m bench

bench-quick: dev  ## did this change cost speed? the most important ratios, in less than a minute
	@$(BIN)/python -m bench --quick

check: dev walls dependencies types  ## only the static checks: style, imports, dependencies, types

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

lock: dev  ## rewrite the lock files from pyproject.toml (newest versions: UPGRADE=--upgrade)
	@echo uv | $(LOCK) --no-config --no-header - -o deploy/uv.lock
	@echo schemathesis | $(LOCK) --no-config --no-header - -o deploy/fuzzer.lock
	@$(LOCK) pyproject.toml -o requirements.lock
	@$(LOCK) --group pyproject.toml:dev -c requirements.lock pyproject.toml -o requirements-dev.lock

docs: dev  ## rewrite docs/api.md, and the tables of settings, state, attacks and requirements in docs/
	@$(BIN)/python deploy/reference.py
	@$(BIN)/python -m deploy.api_page
	@$(BIN)/python -m deploy.profile_page
	@$(BIN)/python -m tests.attacks --write
	@$(BIN)/python -m tests.requirements --write
