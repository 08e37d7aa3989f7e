# `make demo` and `make test` set themselves up; they need Python >= 3.11 and nothing else.
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTHON ?= $(firstword $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p; done))
DEMO := demo-output

.PHONY: demo test test-fast faults lint bench lock clean

demo: $(READY)
	$(BIN)/tkm annotate deployments/demo/cam01.mp4 --output $(DEMO)
	$(BIN)/tkm render $(DEMO)
	$(BIN)/tkm show $(DEMO)

# Two at a time, whatever the machine: a run that a test starts takes the whole of it. A file's tests share what they prepare, and
# files come in their order, in which the longest are first.
PYTEST := $(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test: $(READY)
	$(PYTEST)

test-fast: $(READY)
	$(PYTEST) -m "not slow"

# N faults, numbered from SEED; a fault is tried again by its number: make faults SEED=17 N=1. RECORD=FILE adds the report to a file.
N ?= 15
SEED ?= 0
faults: $(READY)
	$(BIN)/python -u -m tests.faults --count $(N) --seed $(SEED) $(if $(RECORD),--record $(RECORD))

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m benchmarks

$(READY): pyproject.toml requirements.lock
	@test -n "$(PYTHON)" || { echo "tkm needs Python 3.11 or newer; install it, or name it: make PYTHON=/path/to/python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable ".[dev,synthetic]"
	touch $@

# Names and versions only. torch is written without its build, so that a machine takes the build that suits it.
lock: $(READY)
	$(BIN)/python -m pip list --format=freeze --exclude tkm --exclude pip --exclude setuptools \
		| grep -vE '^(nvidia-|cuda-|triton)' | sed 's/+cpu$$//' > requirements.lock

clean:
	rm -rf $(VENV) $(DEMO) build *.egg-info
