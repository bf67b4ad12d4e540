# The whole vocabulary. Every target makes .venv and installs when it is missing or when the dependencies changed.
# Every install line carries constraints.txt, and torch comes first: docs/decisions/0002-constraints-and-torch.md
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
GATED := src/strokelens/metrics/*,src/strokelens/perfusion/*,src/strokelens/cohorts/*,src/strokelens/explain/*,src/strokelens/explanation/*,src/strokelens/prepare.py,src/strokelens/frames.py,src/strokelens/case.py,src/strokelens/grid.py

.PHONY: setup format lint types layers test slow golden bench docs check demo
.DEFAULT_GOAL := check

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install torch==2.13.0 -c constraints.txt
	$(BIN)/python -m pip install -c constraints.txt -e '.[dev]' && touch $@

format: setup
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: setup
	$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: setup
	$(BIN)/mypy

layers: setup
	$(BIN)/lint-imports

check: lint types layers

# One thread a worker, so that two workers do not fight for two cores, and each file by one, which makes what its tests share.
# The second line is the gate on branches.
test slow: export OMP_NUM_THREADS := 1
test slow: export OPENBLAS_NUM_THREADS := 1
test: setup
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow" --cov --cov-report=term:skip-covered
	$(BIN)/coverage report --include='$(GATED)' --fail-under=95

slow: setup
	$(BIN)/pytest -m slow

# Rewrites the frozen numbers in tests/golden and shows what moved; the diff belongs in the review.
golden: setup
	$(BIN)/pytest tests -m golden --write-golden -q && git --no-pager diff --stat -- tests/golden

bench: setup
	set -e; for script in benchmarks/bench_*.py; do $(BIN)/python $$script; done

# Writes the pages that come from the code, then runs every code block of the documentation.
docs: setup
	$(BIN)/pytest tests/test_docs.py tests/test_report_result.py tests/test_evaluation_record.py tests/test_settings.py --write-docs -q

demo: setup
	$(BIN)/strokelens phantom demo/patient --seed 7 --group LVO --overwrite
	$(BIN)/strokelens segment demo/patient/sim-7/ctp.nii.gz -o demo/result --overwrite
