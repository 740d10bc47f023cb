# The only door: everything a person or CI does with a clone is a target here.
# Say PYTHON=/path/to/python3 to choose the interpreter, ARGS='…' to hand words on to the program behind a target.

.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
export PYTHON

bin := .venv/bin
pins := requirements-dev.txt
# Neighbours stay with one worker while there is enough to do: what a worker makes once for them is dear.
workers := -n auto --dist worksteal

.PHONY: help setup venv demo test test-hosts test-cluster test-workflows test-thorough test-crash lint format schemas check-generated bench pins clean

help: ## show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 26

setup: ## install what is missing: system packages (as root), .venv
	@tools/setup.sh

# Enough for what starts no environment.
venv:
	@tools/setup.sh venv

demo: setup ## lock and build examples/quickstart below .demo, run a program in it
	@tools/demo.sh

test: setup ## all tests but those that need a prepared host
	$(bin)/python -m pytest $(workers) -m 'not hosts and not thorough and not cluster and not workflows' $(ARGS)

test-hosts: setup ## the tests with real Apptainers, ordinary users, and every shell (root; changes this machine)
	tests/hosts/setup.sh
	$(bin)/python -m pytest $(workers) -m '(hosts or shells) and not cluster and not workflows and not thorough' $(ARGS)

test-cluster: setup ## launches in steps of a real Slurm, and under MPICH and Open MPI (root; changes this machine)
	tests/hosts/setup.sh cluster
	$(bin)/python -m pytest -m 'cluster and not workflows' $(ARGS)

test-workflows: setup ## Dask, Snakemake, submitit, joblib, JupyterLab, debuggers from PyPI, on a real Slurm too (root; changes this machine)
	tests/hosts/setup.sh workflows
	$(bin)/python -m pytest -m workflows $(ARGS)

test-thorough: setup ## of what make test and test-hosts take a sample, all; but see test-crash (root; changes this machine)
	tests/hosts/setup.sh
	$(bin)/python -m pytest $(workers) -m 'thorough and not cluster and not workflows' --ignore tests/crash $(ARGS)

test-crash: setup ## a kill, EIO or a full disk at each of some hundred points (ten minutes)
	$(bin)/python -m pytest $(workers) -m thorough tests/crash $(ARGS)

lint: venv ## style, types, and the direction of imports
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports --no-logo

format: venv ## rewrite the sources in the project's style
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

schemas: venv ## write what is generated: schemas, reference pages, the README's help
	$(bin)/python schemas/generate.py
	$(bin)/python -m tools.generate

check-generated: venv ## fail where a generated file is not current
	$(bin)/python schemas/generate.py --check
	$(bin)/python -m tools.generate --check

bench: setup ## measure, and write docs/reference/marks.md
	$(bin)/python -m benchmarks.marks --write docs/reference/marks.md $(ARGS)

pins: venv ## choose new versions for requirements-dev.txt (ARGS=--upgrade for all)
	$(bin)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-annotate --custom-compile-command 'make pins' --no-config --default-index https://pypi.org/simple \
		--system-certs --quiet --output-file $(pins) $(ARGS)

clean: ## remove everything that was made here
	rm -rf .venv .cache .demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find tykky tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
