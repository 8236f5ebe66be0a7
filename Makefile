PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test lint docs

setup: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -c constraints.txt "torch==2.13.0"
	$(BIN)/pip install --quiet -c constraints.txt -e ".[test,bench,demo,fast,figures,zarr,data,ray,docs]"
	touch $@

demo: setup
	$(BIN)/python -m bitsback.cli.demo

test: setup
	$(BIN)/python -m pytest

docs: setup
	$(BIN)/mkdocs build --strict --site-dir build/site

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy bitsback
