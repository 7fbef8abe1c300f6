# Two commands for a fresh machine: `make demo` and `make test`. Both create .venv when it is not there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TYPES := build/types

.PHONY: demo test test-full lint format docs clean help

help:
	@echo "make demo       scan and audit the example project and its repaired twin"
	@echo "make test       the test suite"
	@echo "make test-full  the test suite with the slow tests"
	@echo "make lint       ruff and mypy"
	@echo "make docs       write docs/rules from the rules"
	@echo "make format     let ruff format the code"
	@echo "make clean      remove everything that make made"

# The stamp is older than these two files when the environment no longer fits them.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "nnaudit needs Python 3.11 or newer; try: make PYTHON=python3.11" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

# The example has planted mistakes: finding them is status 1, and that is what we want to see.
demo: $(STAMP)
	@echo '$$ nnaudit scan examples/digits'
	@status=0; $(BIN)/nnaudit scan examples/digits || status=$$?; \
	  test $$status -eq 1 || { echo "expected findings (status 1), got status $$status" >&2; exit 2; }
	@echo
	@echo '$$ nnaudit scan examples/digits_repaired'
	@$(BIN)/nnaudit scan examples/digits_repaired
	@echo
	@echo '$$ nnaudit audit examples/digits/train.py --epochs 3'
	@status=0; $(BIN)/nnaudit audit --run-dir build/demo examples/digits/train.py --epochs 3 \
	  || status=$$?; test $$status -eq 1 || { echo "expected findings (status 1), got status $$status" >&2; exit 2; }
	@echo
	@echo '$$ nnaudit audit examples/digits_repaired/train.py --epochs 3'
	@$(BIN)/nnaudit audit --run-dir build/demo_repaired examples/digits_repaired/train.py --epochs 3

test: $(STAMP)
	$(BIN)/python -m pytest -n auto -m "not slow"

test-full: $(STAMP)
	$(BIN)/python -m pytest -n auto

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p $(TYPES) && ln -sfn ../.. $(TYPES)/nnaudit
	cd $(TYPES) && ../../$(BIN)/mypy --config-file ../../pyproject.toml -p nnaudit

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/nnaudit rules --write-docs docs/rules

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .nnaudit_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
