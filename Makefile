PYTHON ?= python3
BIN := .venv/bin

.PHONY: install examine test check bench faults reproduce clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $@

examine: install
	$(BIN)/throughtime examine --out report.html

test: install
	$(BIN)/pytest --numprocesses=auto

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[bench]"
	$(BIN)/python -m benchmarks

faults: install
	$(BIN)/python -m faults

reproduce: install
	$(BIN)/python -m reproduce

clean:
	rm -rf .venv report.html story.html
