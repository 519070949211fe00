# The checks of this repository. `make ci` is what continuous integration runs: everything, from nothing.

PYTHON ?= python3

.PHONY: ci test lint types format sample

ci:
	PYTHON=$(PYTHON) .ci/run

test:
	pytest -n auto

lint:
	ruff check . && ruff format --check .

types: earnbook
	mypy earnbook/jobs earnbook/pipeline earnbook/ledger earnbook/rules

format:
	ruff check --fix . && ruff format .

sample:
	$(PYTHON) sample_data/coffee_shop/make.py

# Type checkers read the packages under their installed name.
earnbook:
	mkdir -p earnbook && cd earnbook && ln -sfn ../jobs jobs && ln -sfn ../pipeline pipeline \
		&& ln -sfn ../ledger ledger && ln -sfn ../rules rules
