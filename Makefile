PYTHON ?= python3
BIN := .venv/bin
TORCH ?= torch==2.13.0
CONSTRAINTS ?= constraints.txt
# Two tests at a time, those of a file in one process, since they share what they set up.
PYTEST ?= -n 2 --dist loadfile

.PHONY: setup demo test lint docs notebooks

setup: .venv/installed

# What the demo needs, a fifth of the whole: NumPy runs the network there.
.venv/demo: pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c $(CONSTRAINTS) -e ".[demo]"
	touch $@

.venv/installed: .venv/demo
	$(BIN)/pip install --quiet -c $(CONSTRAINTS) "$(TORCH)"
	$(BIN)/pip install --quiet -c $(CONSTRAINTS) -e ".[test,dev,bench,demo,torch,fast,figures,zarr,fsspec,data,ray,docs]"
	touch $@

demo: .venv/demo
	$(BIN)/python -m bitsback.cli.demo

test: setup
	$(BIN)/python -m pytest $(PYTEST)

docs: setup
	$(BIN)/mkdocs build --strict --site-dir build/site

notebooks: setup
	$(BIN)/python notebooks/execute.py

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy bitsback
	$(BIN)/lint-imports
