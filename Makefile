# Two commands for a newcomer: `make demo` and `make test`. Each sets itself up in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SECONDS ?= 60

.PHONY: demo test lint fuzz mutate bench bench-accept clean help

help:
	@echo "make demo               compile two PyTorch models, compare with eager, print speed and error"
	@echo "make test               the whole suite"
	@echo "make lint               ruff and basedpyright"
	@echo "make fuzz SECONDS=60    random programs through every pass, with a ledger"
	@echo "make bench              mlc beside every peer on the model table, 1 thread and all; goes on where it stopped"
	@echo "                        MODEL=resnet50 PEERS=openvino THREADS=2 RUNS=15 PRECISION=bfloat16 CONTENDED=1 FRESH=1"
	@echo "                        PEERS: eager, torch.jit, torch.compile, onnxruntime, openvino, with commas between"
	@echo "                        writes benchmarks/results.*, or results-part.* when only a part of the table was asked for"
	@echo "make bench-accept       the latest ratios become those that regressions are seen against"
	@echo "make mutate             small lies put into passes, counted by how many the properties see"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[torch]"
	touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[torch,test]"
	touch $(VENV)/.demo $@

$(VENV)/.bench: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[torch,test,bench]"
	touch $(VENV)/.demo $(VENV)/.test $@

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py

test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist worksteal tests

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright

fuzz: $(VENV)/.test
	$(BIN)/python -m fuzz --seconds $(SECONDS)

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks $(if $(MODEL),--models "$(MODEL)") $(if $(PEERS),--peers "$(PEERS)") \
		$(if $(PRECISION),--precision $(PRECISION)) $(if $(THREADS),--threads $(THREADS)) $(if $(RUNS),--runs $(RUNS)) \
		$(if $(CONTENDED),--contended) $(if $(FRESH),--fresh)

bench-accept: $(VENV)/.bench
	$(BIN)/python -m benchmarks --accept

mutate: $(VENV)/.test
	$(BIN)/python -m fuzz.mutate

clean:
	rm -rf $(VENV) .pytest_cache .hypothesis .ruff_cache build dist
