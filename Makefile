# Two commands do everything on a fresh machine: `make regress` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: help regress oracle bench conformance test lint lab lock clean

help: ## show this list
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/'

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "kitref needs Python 3.11 or newer; set PYTHON=/path/to/it" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "this Python cannot make virtual environments: apt-get install python3-venv" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

regress: $(READY) ## reproduce the bug on live engines that the kit starts itself (ARGS= for options)
	$(BIN)/kitref regress $(ARGS)

oracle: $(READY) ## hold the corpus and a million generated names against Go's distribution/reference (ARGS= for options)
	$(BIN)/kitref oracle --count 1000000 $(ARGS)

bench: $(READY) ## measure it beside Go's package and others (ARGS= for options); writes reports/bench.md
	$(BIN)/python -m benchmarks $(ARGS)

conformance: $(READY) ## run other programs' normalizers over the corpus (ARGS= for options); writes kitref/data/conformance.json
	$(BIN)/python -m adapters $(ARGS)

test: lint ## lint, types, unit, property, live and notebook tests
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: $(READY) ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

lock: ## pin what pyproject.toml allows today; run it with the oldest Python there is (PYTHON=)
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e '.[kit,columns,cluster,test]'
	$(BIN)/python -m pip freeze --exclude-editable --all | grep -vE '^(pip|setuptools|wheel)==' > requirements.lock
	@touch $(READY) # it has what the new lock says

clean: ## remove the virtual environment, the last run and the kit's cache
	-$(BIN)/kitref engines stop --all
	-$(BIN)/kitref engines clean
	rm -rf $(VENV) reports/latest
