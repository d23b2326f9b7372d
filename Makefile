# PYTHON is any CPython 3.11, 3.12 or 3.13; everything is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out
SYSTEM := tests/system
UNIT := --ignore=$(SYSTEM) --numprocesses 2 --dist loadfile

# Tests start hundreds of processes, and each would compile all modules anew where this is set.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: install demo test test-slow coverage test-system test-night check audit bench bench-long clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[simulation,dev]'
	touch $@

demo: install ## virtual hospitals train one model together; a report says what it finds
	$(BIN)/ra-simulate quickstart --out $(OUT)/demo
	@echo "open $(OUT)/demo/report.html"

test: install ## fast tests, two files at a time
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(UNIT) -m "not slow"

test-slow: install ## those that train, federate or measure in one process, for seconds each
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(UNIT) -m slow

coverage: install ## both, and which lines and branches they reach: half as long again
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(UNIT) --cov --cov-report=term

test-system: install ## tests over real processes, two files at a time: tests of a file share what it started
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SYSTEM) -m "not night" --numprocesses 2 --dist loadfile

test-night: install ## those that wait for minutes (killed servers, bad answers, broken networks); more random examples
	$(BIN)/python -m pytest $(SYSTEM) -m night
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest $(UNIT)

check: install ## style, types, who may import whom, and what is unsafe
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive ra_core client server simulation benchmarks .ci

audit: install ## installed packages with known vulnerabilities; fails, and says so, where the advisories can't be had
	$(BIN)/python .ci/audit.py

bench: install ## the figures of docs/performance.md and the pages that it names; while nothing else works here
	$(BIN)/python benchmarks/step.py --repeats 5 --gains --methods --private
	$(BIN)/python benchmarks/step.py --preset paper --gains
	$(BIN)/python benchmarks/scoring.py
	$(BIN)/python benchmarks/reading.py
	$(BIN)/python benchmarks/start_up.py --every
	$(BIN)/python benchmarks/simulated_round.py
	$(BIN)/python benchmarks/study_jobs.py
	$(BIN)/python benchmarks/federation.py
	$(BIN)/python benchmarks/federation.py --sites 1 --simulated
	$(BIN)/python benchmarks/growth.py
	$(BIN)/python benchmarks/traffic.py
	$(BIN)/python benchmarks/masking.py
	$(BIN)/python benchmarks/virtual_hospitals.py
	$(BIN)/python benchmarks/virtual_hospitals.py --engine in-process

BENCH := $(OUT)/bench
bench-long: install ## those that take hours; the last one needs a C++ compiler
	$(BIN)/python benchmarks/virtual_hospitals.py --sites 1000
	$(BIN)/python benchmarks/virtual_hospitals.py --sites 1000 --engine in-process
	$(BIN)/python benchmarks/federation.py --sites 3 --masked --simulated --quick --rounds 1 --steps 5
	rm -rf $(BENCH)
	$(BIN)/ra-simulate cohort --size 64 --out $(BENCH)
	cp simulation/studies/grid_virtual_methods.yaml $(BENCH)
	$(BIN)/python benchmarks/privacy.py $(BENCH)/grid_virtual_methods.yaml --data $(BENCH) --method RA --rounds 10 \
	    --steps 20 --set warmup_steps=160 --epsilon inf 200 50 8 2 --picture $(BENCH)/privacy_cost.png
	$(BIN)/python benchmarks/membership.py --patients 40
	$(BIN)/python benchmarks/membership.py --patients 12 --warmup 800 --rounds 41 --pairs 2
	$(BIN)/python benchmarks/step.py --compile

clean:
	rm -rf $(VENV) $(OUT)
