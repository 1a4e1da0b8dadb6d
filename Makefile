# `make demo` and `make test` are all a newcomer needs; both make their own virtual environment in .venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo.index
# Processes that share the tests: those of `make check` work all the time, many others wait for a service or a process.
JOBS ?= 2
SUITE_JOBS ?= 3
# The tests of `make check`: those that start no process, browser, model or engine of others; tests/support/marks.py.
CHECKED := "not (browser or engine or model or process or slow)"
BENCH := build/bench
PEERS ?=

# Tests start hundreds of processes: each would compile all sources, did the environment say that bytecode is not kept.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo check test test-page test-suite lint types client bench clean

help:
	@echo "make demo    install Lexhound, index 300 abstracts, answer what words alone do not"
	@echo "make check   ruff, and the tests that start no process, browser, model or engine: a minute"
	@echo "make test    lint, types, import direction, and the whole test suite"
	@echo "make lint    ruff"
	@echo "make types   mypy and the import contract"
	@echo "make client  write the synchronous client from the asynchronous one"
	@echo "make bench   small versions of the benchmarks of bench/, over the sample"
	@echo "make clean   remove what the other targets made"

# A new pip chooses versions in half of the time, more than its upgrade takes. Bytecode is made of what is imported, when
# it is: most never is, and compiling all of it takes as long as the rest of the installation.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[eval,serve]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

demo: $(VENV)/installed
	@BIN=$(BIN) DEMO=$(DEMO) sh samples/demo.sh

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/mypy -p lexhound
	$(BIN)/lint-imports

client: $(VENV)/installed-dev
	$(BIN)/python tools/sync_client.py

# A file's tests in one process: what they share is built once, and its kernels are loaded once.
check: lint
	LEXHOUND_EXAMPLES=20 $(BIN)/python -m pytest --quiet -m $(CHECKED) --numprocesses $(JOBS) --dist loadfile

# Beside each other what keeps one processor busy.
test: $(VENV)/installed-dev
	$(MAKE) --jobs 2 --output-sync=target lint types test-page
	$(MAKE) test-suite

# The page's tests in a process of their own: the browser's driver keeps an event loop running, and others need theirs.
test-page: $(VENV)/installed-dev
	$(BIN)/python -m pytest tests/serve/page

test-suite: $(VENV)/installed-dev
	$(BIN)/python -m pytest --ignore=tests/serve/page --numprocesses $(SUITE_JOBS) --dist worksteal

# Vectors of the sample, made once: the bundled model reads some ten abstracts a second.
$(BENCH)/passages.npz: $(VENV)/installed-dev
	mkdir -p $(BENCH)
	$(BIN)/lexhound encode samples/cranfield/corpus.jsonl --encoder lexhound-mini --out $@

$(BENCH)/queries.npz: $(VENV)/installed-dev
	mkdir -p $(BENCH)
	$(BIN)/lexhound encode samples/cranfield/queries.jsonl --encoder lexhound-mini --queries --out $@

# Peers are given as in `make bench PEERS='--peer seismic=PYTHON'`; those that are not are named in the report.
bench: $(VENV)/installed-dev $(BENCH)/passages.npz $(BENCH)/queries.npz
	$(BIN)/python bench/run_lexical.py
	$(BIN)/python bench/run_sparse.py --vectors $(BENCH)/passages.npz --queries $(BENCH)/queries.npz \
		--work $(BENCH) $(PEERS)
	$(BIN)/python bench/run_filters.py --index $(BENCH)/lexhound --queries $(BENCH)/queries.npz

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf $(DEMO) $(DEMO:.index=-bm25.index) $(DEMO:.index=.jsonl)
