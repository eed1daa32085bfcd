# Two commands: `make repro` reruns the suite, `make test` runs its tests.
# Both make .venv and install from the package registry first; PYTHON names the interpreter.
# The tests run in two processes, a file in one of them, with a thread each; in the order of their
# names, which starts the longest early.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin

.PHONY: repro test bench clean
.DEFAULT_GOAL := repro

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: Python 3.11 or newer is needed, and $(PYTHON) is not: name one, as in 'make PYTHON=python3.12'." >&2; \
		exit 1; }
	@echo "Installing into $(VENV), 6.4 GB: about 3 minutes, in which pip says nothing unless something is wrong."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e ".[test]"
	@touch $@

repro: $(VENV)/.installed
	PATH="$(BIN):$$PATH" $(BIN)/dvc repro

test: $(VENV)/.installed
	PATH="$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

bench: $(VENV)/.installed
	@echo "Installing the peers that the timings stand beside: about a minute."
	@$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e ".[test,bench]"
	PATH="$(BIN):$$PATH" $(BIN)/python -m pytest bench/ --benchmark-only -q

clean:
	rm -rf build $(VENV)
