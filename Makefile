# Everything runs from a clean clone: the environment is made when it is needed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo env test lint types generated docs bench measure clean

demo: $(READY)  ## the main job: card, plan, prompt and an answer about a 12-megapixel photo
	$(BIN)/python -m tools.demo

env: $(READY)  ## the environment alone, for tools/new and tools/validate

test: $(READY)  ## the whole test suite, on two cores
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

generated: $(READY)  ## write every file that is made from others: schemas, findings, tables of models and memory
	$(BIN)/python -m tools.generate

docs: $(READY)  ## build the documentation as a site, into site/; a broken link is an error
	$(BIN)/python -m mkdocs build

bench: $(READY)  ## what the project claims about speed, measured
	$(BIN)/python -m tools.bench

# constraints.txt holds the versions that the suite was green with.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "mlx-cards needs Python 3.11 or newer: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[mlx,dev]'
	touch $@

measure: $(READY)  ## MLX's own peak of memory beside the estimate; only runs that are not in measurements/
	$(BIN)/python -m tools.measure --products skipped

clean:
	rm -rf $(VENV) .demo dist build site
