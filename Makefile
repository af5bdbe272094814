# Each target sets up what it needs. `make run` and `make test` need only python3.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test files at a time: most of them wait for servers most of their time. They are taken in
# their order, which has the short ones last: none is waited for alone.
JOBS ?= 3
# What runs the tasks of the tests' apps: threads, and for some files Celery as well, or celery alone.
BACKEND ?= threads

.PHONY: run test lint soak bench clean

run: $(VENV)/.run
	$(BIN)/python run.py $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --backend $(BACKEND) $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

soak: $(VENV)/.dev
	$(BIN)/python -m pytest --soak $(ARGS)

# Peers that are not there, or cannot be had, are left out.
bench: $(VENV)/.dev
	-$(MAKE) -s bench/.venv/.peers
	$(BIN)/python -m bench.run $(ARGS)

clean:
	rm -rf $(VENV) bench/.venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -r requirements.txt
	touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt requirements-apprise.txt requirements-celery.txt requirements-gevent.txt requirements-postgres.txt requirements-sns.txt requirements-supervisor.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -r requirements-dev.txt
	touch $@

bench/.venv/.peers: requirements-bench.txt
	$(PYTHON) -m venv bench/.venv
	bench/.venv/bin/python -m pip install -q -r requirements-bench.txt
	touch $@
