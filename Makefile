# The project's commands. `make run` and `make test` set up everything they need themselves.
PYTHON ?= $(shell command -v python3.11 || echo python3)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install --require-hashes

.DEFAULT_GOAL := help
.PHONY: help install run local check test test-cluster bench picture requirements clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/dev ## create .venv with all that the pod, the tests and the checks need

run: .venv/run ## serve the bundled models on port 8000
	$(BIN)/python -m service

local: .venv/run ## the same by N pods behind nginx: make local N=4
	nginx/local $(N)

check: .venv/dev ## style, types, import direction, sizes
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_structure.py

test: check ## the checks, and every test that needs neither root nor a cluster
	$(BIN)/python -m pytest -m "not cluster"

test-cluster: .venv/dev ## the end-to-end tests on a real Kubernetes (Linux, root, Go; or KUBECONFIG)
	$(BIN)/python -m pytest -m cluster --timeout 3600 tests/e2e
	$(BIN)/python -m pytest tests/chart

bench: .venv/dev ## the pod beside every peer and its limits, into README.md (needs wrk): make bench FORM=full
	$(BIN)/python -m benchmarks.compare --form $(or $(FORM),short)

picture: .venv/dev ## draw docs/scaling.svg: a step of load on a real Kubernetes (as test-cluster)
	$(BIN)/python -m benchmarks.scaling

COMPILE := uv pip compile --quiet --generate-hashes --python-version 3.11 --no-header --no-emit-index-url \
  --no-emit-find-links

requirements: ## compile requirements/*.in and requirements/peers/*.in anew (needs uv)
	for f in cpu gpu litert adapter tracing dev speech; do $(COMPILE) --python-platform x86_64-manylinux_2_28 \
	  requirements/$$f.in -o requirements/$$f.txt || exit 1; done
	$(COMPILE) --no-deps requirements/clients.in -o requirements/clients.txt
	for f in requirements/peers/*.in; do $(COMPILE) --python-platform x86_64-manylinux_2_35 \
	  $$f -o $${f%.in}.txt || exit 1; done

clean: ## remove what the commands above created
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache build

.venv/python: 
	$(PYTHON) -m venv .venv
	touch $@

# Files are compiled at installation: it halves every later start.
.venv/run: .venv/python requirements/cpu.txt
	PYTHONDONTWRITEBYTECODE= $(PIP) -r requirements/cpu.txt
	touch $@

.venv/dev: .venv/run requirements/dev.txt requirements/clients.txt
	PYTHONDONTWRITEBYTECODE= $(PIP) -r requirements/dev.txt
	PYTHONDONTWRITEBYTECODE= $(PIP) --no-deps -r requirements/clients.txt
	touch $@
