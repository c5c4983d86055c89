# Lineside: everything one does with a checkout. It needs Python 3.11 or newer and make; `.venv` it makes itself.

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
PIP := $(BIN)/python -m pip --disable-pip-version-check
PINNED := $(PIP) install --quiet --constraint constraints.txt
# Not built in isolation, so that the build tools, too, are the pinned ones.
PACKAGE := $(PINNED) --no-build-isolation --editable
BUILD_TOOLS := pip setuptools wheel grpcio-tools mypy-protobuf googleapis-common-protos
PROTOS := $(wildcard protos/lineside/v1/*.proto)

JOBS ?= 2
PARTS ?=
SEED ?=
HEADLESS ?=
ARGS ?=
TESTS ?= tests
PYTEST_ARGS ?=

on = $(filter-out 0 no false,$(1))
DEMO_ARGS := $(if $(PARTS),--parts $(PARTS)) $(if $(SEED),--seed $(SEED)) $(if $(call on,$(HEADLESS)),--headless) $(ARGS)

.PHONY: help demo test lint parity bench deb deb-test fuzz faults soak protos clean

help: ## this list
	@echo "make demo [PARTS=200] [SEED=7] [HEADLESS=1] [ARGS=...]"
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(STAMPS)/runtime ## watch a line being inspected, on this machine, with nothing to prepare
	@$(BIN)/lineside demo $(DEMO_ARGS)

test: lint ## style, types, import arrows, and all tests against recorded tensors
	@.ci/system-packages
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not parity and not debian" --ignore tests/benchmarks $(PYTEST_ARGS) $(TESTS)

lint: $(STAMPS)/test ## style, types and import arrows only
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy -p lineside.daemon -p lineside.engines -p lineside.dashboard -p lineside.plugins
	$(BIN)/lint-imports
	.ci/buf lint
	.ci/buf breaking

parity: $(STAMPS)/parity ## the graphs against torch and transformers, live (downloads both)
	$(BIN)/python -m pytest -m parity --ignore tests/benchmarks $(PYTEST_ARGS) $(TESTS)

bench: $(STAMPS)/bench ## how fast: one table
	$(BIN)/python -m pytest -q -s $(PYTEST_ARGS) tests/benchmarks

deb: $(STAMPS)/runtime ## the Debian package for this machine (ARGS="--arch arm64 --python 3.12" for another), into dist/
	@$(BIN)/python systemd/debian/build.py $(ARGS)

deb-test: $(STAMPS)/test ## that package in a fresh Debian: installed, judging, removed, purged (root, debootstrap)
	@.ci/system-packages debootstrap
	$(BIN)/python -m pytest -m debian $(PYTEST_ARGS) tests/packaging

fuzz: $(STAMPS)/test ## malformed recipes, calls, MQTT commands and bundles, EXAMPLES=20000 of each
	LINESIDE_FUZZ_EXAMPLES=$(or $(EXAMPLES),20000) $(BIN)/python -m pytest -q --timeout 0 -p no:cacheprovider \
		tests/daemon/rpc/test_fuzz_calls.py tests/daemon/recipes/test_fuzz_recipes.py \
		tests/daemon/reporting/test_commands.py::test_whatever_arrives_is_answered_or_nobodys \
		tests/engines/test_bundle.py::test_a_cut_or_scratched_archive_is_refused_or_still_what_was_sealed

faults: $(STAMPS)/test ## what docs/reliability.md promises, at length: kills, torn and refused writes, 72 h offline, a million triggers
	@.ci/system-packages
	LINESIDE_FAULTS=all LINESIDE_KILLS=1000 LINESIDE_TORN_WRITES=200 LINESIDE_OFFLINE_PARTS=25920 \
		LINESIDE_TRIGGERS=1000000 $(BIN)/python -m pytest -q -s -p no:cacheprovider tests/daemon/store/test_kill.py \
		tests/daemon/store/test_power_cut.py tests/faults

soak: $(STAMPS)/test ## the real daemon for MINUTES=120: memory, open files, p99
	@.ci/system-packages
	$(BIN)/python tests/faults/soak.py --minutes $(or $(MINUTES),120)

protos: $(STAMPS)/runtime ## make the gRPC code anew
	$(PACKAGE) . --no-deps

clean: ## remove everything that was made here
	rm -rf $(VENV) build dist demo-out .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	rm -f $(foreach kind,*_pb2.py *_pb2.pyi *_pb2_grpc.py *_pb2_grpc.pyi,protos/lineside/v1/$(kind))
	find daemon dashboard engines plugins protos tests -name __pycache__ -prune -exec rm -rf {} +

# What is installed, as files: a second `make` installs nothing again until what it was made from changes.

$(STAMPS)/venv:
	@.ci/make-venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/runtime: $(STAMPS)/venv pyproject.toml setup.py constraints.txt $(PROTOS)
	@echo "installing lineside into $(VENV)" >&2
	@$(PINNED) $(BUILD_TOOLS)
	@$(PACKAGE) .
	@touch $@

$(STAMPS)/test: $(STAMPS)/runtime .ci/tensorrt-rtx.txt .ci/pysparkplug.txt
	@echo "installing what the tests need into $(VENV)" >&2
	@$(PACKAGE) ".[test]"
	@$(PINNED) --no-deps --requirement .ci/tensorrt-rtx.txt || \
		echo "no TensorRT-RTX for this machine: the tests that build engines with it are skipped" >&2
	@$(PINNED) --no-deps --requirement .ci/pysparkplug.txt
	@touch $@

$(STAMPS)/bench: $(STAMPS)/test
	@echo "installing llama.cpp, to compare with, into $(VENV)" >&2
	@$(PACKAGE) ".[test,bench]" || echo "no llama.cpp here: what compares with it is skipped" >&2
	@touch $@

$(STAMPS)/parity: $(STAMPS)/test
	@echo "installing torch and transformers into $(VENV)" >&2
	@$(PACKAGE) ".[test,parity]" $$(.ci/torch-source $(BIN)/python)
	@touch $@
