# make demo   install into .venv if need be, run the main job on the embedded data, print where its report is
# make test   lint, types and fast tests;  make test-slow   the tests that take longer

PYTHON ?= python3
PY := .venv/bin/python

.PHONY: demo test test-slow install clean

demo: install
	$(PY) -m harness.run -m depth=20,56,110 shortcut=none,identity

test: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest

test-slow: install
	$(PY) -m pytest -m slow

install:
	@sh setup.sh $(PYTHON)

clean:
	rm -rf .venv
