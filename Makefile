# Everything runs from a clean clone: the environment is made when it is needed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test lint types schema bench measure clean

demo: $(READY)  ## the main job: card, plan, prompt and an answer about a 12-megapixel photo
	$(BIN)/python -m tools.demo

test: $(READY)  ## the whole test suite, on two cores
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

schema: $(READY)  ## write schemas/card.schema.json from the card model
	$(BIN)/python -m tools.schema

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
	rm -rf $(VENV) .demo dist build
