# What a person runs is what CI runs. `make demo` or `make test` may be the first command ever typed here.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: install demo test pictures clients check bench chaos ha differential lock clean

install: $(STAMP)

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Segue needs Python 3.11 or newer, this is " + sys.version.split()[0] + ": try make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $(STAMP)

# STAY=1 keeps it running, with the web console, until Control-C.
demo: $(STAMP)
	$(BIN)/segue demo $(if $(STAY),--stay)

# Three workers: tests often wait. Large tests run one at a time (tests/conftest.py). A plain pytest runs all in one
# process. The tests start hundreds of processes. Compiling the modules in each takes up to a third of its start.
test: $(STAMP)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3

# The pictures of docs/console.md, taken anew. Needs Chromium.
pictures: $(STAMP)
	mkdir -p docs/images
	PICTURES=1 $(BIN)/python -m pytest tests/console/test_looks.py -k pictures -n 0

# The npm packages of tests/clients. Needs Node 20 and npm; the tests of browsers also need Chromium.
clients:
	npm ci --prefix tests/clients --ignore-scripts --no-audit --no-fund

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)
	$(BIN)/python -m bench

# SEED, EVENTS and MINUTES are taken from the environment.
chaos: $(STAMP)
	$(BIN)/python -m tests.chaos

# Failovers and restarts of Redis under load.
ha: $(STAMP)
	$(BIN)/python -m tests.ha

# Needs Node 20, npm and a copy of the reference.
REFERENCE ?= ../shared/reference
differential: $(STAMP)
	$(BIN)/python -m tests.differential --reference $(REFERENCE)

# Needs uv; run after changing dependencies. The locks name no registry: pip asks whichever one it is set up for.
COMPILE := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --no-header --quiet
lock:
	$(COMPILE) --extra build --extra ledger --output-file requirements.lock
	$(COMPILE) --extra build --extra dev --output-file requirements-dev.lock

clean:
	rm -rf .venv .segue build tests/clients/node_modules *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
