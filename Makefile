# PYTHON is any CPython 3.11, 3.12 or 3.13; everything is installed into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUT ?= out

.PHONY: install demo test test-system check bench clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[simulation,dev]'
	touch $@

demo: install ## one virtual hospital, from images to anomaly maps
	$(BIN)/ra-simulate weights
	test -f $(OUT)/cohort/manifest.csv || $(BIN)/ra-simulate cohort --out $(OUT)/cohort
	$(BIN)/ra-simulate train $(OUT)/cohort/site_configs/mr_flair.yaml --data $(OUT)/cohort \
	  --study simulation/studies/demo.yaml --out $(OUT)/demo
	@echo "look at $(OUT)/demo/gallery.png; numbers are in $(OUT)/demo/results.csv"

test: install ## fast tests, with coverage
	$(BIN)/python -m pytest -m "not system" --cov --cov-report=term

test-system: install ## tests over real processes
	$(BIN)/python -m pytest -m system

check: install ## style, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install ## ratios measured in one run
	$(BIN)/python benchmarks

clean:
	rm -rf $(VENV) $(OUT)
