# kpufit's set-up, pipeline and checks. `make help` lists the targets.

.DEFAULT_GOAL := all
.NOTPARALLEL:
BIN := .venv/bin

# Exit codes of plain `make`: 0 accepted, 1 rejected, 2 error. GNU make turns every failing recipe into 2, with one exception: under
# --question, a line marked `+` (run even then, as if it were a sub-make) that ends with 1 makes it end with 1. So the default goal
# runs under --question, and its lines are marked. What they start must not inherit the flag.
ifeq ($(filter-out all,$(MAKECMDGOALS)),)
MAKEFLAGS += --question
endif
unexport MAKEFLAGS MFLAGS

.PHONY: all setup test lint bench clean lock help

all: setup  ## both environments, then the pipeline and its table (exit code 0 accepted, 1 rejected, 2 error)
	+@$(BIN)/kpufit run

setup:  ## both environments, as locks/ says; does nothing it need not
	+@locks/create-environment kpufit || exit 2
	+@locks/create-environment nncase || exit 2

test: setup  ## the tests (ARGS="-k kmodel" passes options to pytest)
	@$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

lint: setup  ## ruff, mypy --strict and the import contract
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# Every module of benchmarks/ is a target of its own: bench-simulator, bench-prediction, ...
BENCHMARKS := $(patsubst benchmarks/%.py,bench-%,$(filter-out benchmarks/_%,$(wildcard benchmarks/*.py)))
.PHONY: bench-checks $(BENCHMARKS)

bench: bench-checks $(BENCHMARKS)  ## the slow checks and every benchmark, resumable; each is also a target, bench-NAME

bench-checks: setup
	@$(BIN)/python -m pytest -m bench || [ $$? -eq 5 ]  # 5: there are none

$(BENCHMARKS): bench-%: setup
	@$(BIN)/python -m benchmarks.$*

clean:  ## removes the caches of the tools and Python's; environments, data and results stay
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

lock:  ## writes locks/ from the environments as they are
	@{ echo '# Every package of .venv (Python 3.11), the extras tensorflow and dev included. Written by `make lock`.'; \
	$(BIN)/pip freeze --all --exclude-editable --exclude pip | sed 's/+cpu$$//'; } > locks/kpufit.lock
	@{ echo '# Every package of .venv-nncase (Python 3.10). Written by `make lock`.'; \
	.venv-nncase/bin/pip freeze; } > locks/nncase.lock

help:
	@sed -n 's/^\([a-z]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10
