# Two commands for a newcomer: `make demo` and `make test`. Each sets itself up in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SECONDS ?= 60

.PHONY: demo test lint fuzz mutate bench clean help

help:
	@echo "make demo               compile two PyTorch models, compare with eager, print speed and error"
	@echo "make test               the whole suite"
	@echo "make lint               ruff and basedpyright"
	@echo "make fuzz SECONDS=60    random programs through every pass, with a ledger"
	@echo "make mutate             small lies put into passes, counted by how many the properties see"
	@echo "make bench              mlc and eager side by side on the model table (MODEL=resnet50 PEERS=jit)"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[torch]"
	touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[torch,test]"
	touch $(VENV)/.demo $@

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal tests

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/basedpyright

fuzz: $(VENV)/.test
	$(BIN)/python -m fuzz --seconds $(SECONDS)

mutate: $(VENV)/.test
	$(BIN)/python -m fuzz.mutate

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks $(if $(MODEL),--models $(MODEL)) $(if $(PEERS),--peers $(PEERS))

clean:
	rm -rf $(VENV) .pytest_cache .hypothesis .ruff_cache build dist
