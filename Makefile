# PYTHON is any CPython 3.11, 3.12 or 3.13; everything is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out
FAST := -m "not system" --numprocesses 2 --dist worksteal
SYSTEM := tests/system

.PHONY: install demo test coverage test-system test-night check audit bench clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[simulation,dev]'
	touch $@

demo: install ## virtual hospitals train one model together; a report says what it finds
	$(BIN)/ra-simulate quickstart --out $(OUT)/demo
	@echo "open $(OUT)/demo/report.html"

test: install ## fast tests, two at a time
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(FAST)

coverage: install ## the same, and which lines and branches they reach: half as long again
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(FAST) --cov --cov-report=term

test-system: install ## tests over real processes, two files at a time: tests of a file share what it started
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SYSTEM) -m "not night" --numprocesses 2 --dist loadfile

test-night: install ## those that wait for minutes: killed servers and sites, bad answers, broken networks
	$(BIN)/python -m pytest $(SYSTEM) -m night

check: install ## style, types, who may import whom, and what is unsafe
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive ra_core client server simulation benchmarks .ci

audit: install ## installed packages with known vulnerabilities; says so where the advisories can't be had
	$(BIN)/python .ci/audit.py

bench: install ## ratios measured in one run, memory over 500 and 5,000 images, cost and growth of a federation
	$(BIN)/python benchmarks/step.py --methods --private
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/start_up.py --every
	$(BIN)/python benchmarks/simulated_round.py
	$(BIN)/python benchmarks/federation.py
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/traffic.py
	$(BIN)/python benchmarks/virtual_hospitals.py

clean:
	rm -rf $(VENV) $(OUT)
