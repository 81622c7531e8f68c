# One command per check; `make` lists them. Longer logic is in scripts/.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := $(CURDIR)/.venv
BIN := .venv/bin
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.1
CARGO_PUBLIC_API_VERSION := 0.52.0
# The oldest Rust that builds the crates: `rust-version` in Cargo.toml.
MSRV := 1.88
# What `make free-threaded` runs beside the tests of threads: those that end soon and need no program beside the package.
FREE_THREADED_TESTS := $(addprefix python/tests/test_,acknowledging.py batches.py blocking_subscription.py interpreter_exit.py \
	iteration.py message.py messages.py)
PUBLISHED := ferromqtt ferromqtt-cli ferromqtt-engine ferromqtt-outbox ferromqtt-proto ferromqtt-recording ferromqtt-store ferromqtt-testing ferromqtt-transport
FUZZ_TARGETS := decode client broker transport store
# A workspace of its own, for the trees of the clients that it compares with.
BENCH_RUST := --manifest-path bench/rust/Cargo.toml --target-dir $(TARGET_DIR)
# For `make fuzz`.
TARGET ?= client
SECONDS ?= 60
# For `make chaos`: by default those behind the seeds that `make test` plays.
FROM ?= 200
SEEDS ?= 2000
# For `make cluster` and `make soak`. ONLY=rabbitmq is one cluster, ONLY=python one language.
ROUNDS ?= 6
MINUTES ?= 10
RATE ?= 1000
# For `make kills`: how often each program with an outbox is killed.
KILLS ?= 50
# How many Python tests, and fuzz targets, run at once.
JOBS ?= 2
AT_ONCE_TESTS = -n $(JOBS) --dist worksteal
# Tools that run for seconds, and are built on every fresh machine: not optimised, they are there in a third of the time.
TOOL_INSTALL := CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo install --locked
# For `make plugin-runs`: how often, and how many of them at once.
RUNS ?= 200
AT_ONCE ?= 2
PLUGIN_TESTS := $(addprefix python/tests/test_pytest_,plugin.py reports.py seeds.py)
# CI builds exactly what Cargo.lock says and fails when that file is out of date.
LOCKED := $(if $(CI),--locked)
# What only a second build would use.
ifdef CI
export CARGO_INCREMENTAL := 0
endif
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check

export PYTHON
# One interpreter for every build of the binding, so that no check rebuilds another's work.
export PYO3_PYTHON := $(VENV)/bin/python
# Debian installs brokers where not every user's PATH looks.
export PATH := $(PATH):/usr/sbin

NATIVE_SOURCES := $(wildcard Cargo.lock) Cargo.toml pyproject.toml \
	$(shell find crates -name '*.rs' -o -name '*.c' -o -name Cargo.toml)
PYTHON_SOURCES := README.md $(wildcard python/aiomqtt-shim/*.*) \
	$(shell find python/ferromqtt python/ferromqtt_pytest python/aiomqtt-shim/aiomqtt -name '*.py' -o -name '*.pyi' -o -name py.typed)

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: quickstart
quickstart: .venv/.native ## Build the Python module and run the first example (BROKER=host:port or mqtt://user:password@host:port for your own broker)
	$(BIN)/python examples/python/quickstart.py

# What the tests run beside our own programs. Named first among their prerequisites: what is missing is reported before anything
# is built.
TEST_PROGRAMS := mosquitto openssl initdb=postgresql
INTEROP_PROGRAMS := $(TEST_PROGRAMS) ejabberdctl=ejabberd nats-server rabbitmq-server

CLUSTER_PROGRAMS := rabbitmq-server

# What counts instructions, and finds the commit to compare with.
AUDIT_PROGRAMS := valgrind git

.PHONY: need-test need-interop need-cluster need-audit
need-test:
	scripts/need-program.sh $(TEST_PROGRAMS)
need-interop:
	scripts/need-program.sh $(INTEROP_PROGRAMS)
need-cluster:
	scripts/need-program.sh $(CLUSTER_PROGRAMS)
need-audit:
	scripts/need-program.sh $(AUDIT_PROGRAMS)

.PHONY: deps
deps: ## Install the Debian packages that the targets after it need, by sudo if need be: make deps test
	scripts/venv.sh --packages-only
	scripts/need-program.sh --sudo $(if $(filter interop,$(MAKECMDGOALS)),$(INTEROP_PROGRAMS),$(TEST_PROGRAMS)) \
		$(if $(filter cluster,$(MAKECMDGOALS)),$(CLUSTER_PROGRAMS)) \
		$(if $(filter audit instructions check-instructions,$(MAKECMDGOALS)),$(AUDIT_PROGRAMS))

.PHONY: check
check: .venv/.dev ## What to run while you work: formatting, lints and the tests that take no time
	cargo fmt --all --check
	cargo clippy $(LOCKED) --workspace --all-targets --all-features -- -D warnings
# A sixteenth of the random cases that `make test` plays.
	PROPTEST_CASES=16 cargo test $(LOCKED) --quiet -p ferromqtt-proto -p ferromqtt-transport --lib
	cargo test $(LOCKED) --quiet -p ferromqtt-testing -p ferromqtt --all-features --lib
	cargo test $(LOCKED) --quiet -p ferromqtt-engine --lib --test engine
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

.PHONY: test
test: need-test .venv-wheel/.installed ## Unit, property and scenario tests; Python tests of the wheel, against mosquitto
# The binding's tests are the Python ones: a test program of its own would have to link libpython.
	cargo test $(LOCKED) --workspace --exclude ferromqtt-py --all-features
# What a build without a feature says.
	cargo test $(LOCKED) -p ferromqtt --test build_texts
	cargo test $(LOCKED) $(BENCH_RUST)
	cargo run --quiet $(LOCKED) -p ferromqtt --example quickstart
# Misuse is tested where the interpreter looks at its memory itself, and finds writes past the ends of blocks and uses of freed ones.
	PYTHONDEVMODE=1 PYTHONMALLOC=debug scripts/test-wheel.sh .venv-wheel $(AT_ONCE_TESTS) $(wildcard python/tests/test_misuse*.py)
	scripts/test-wheel.sh .venv-wheel $(AT_ONCE_TESTS) python/tests --ignore=python/tests/interop --ignore-glob='*/test_misuse*'

.PHONY: lint
lint: .venv/.dev .venv/.native ## Formatting, lints, documentation, types and stubs
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo fmt --manifest-path bench/rust/Cargo.toml --check
	cargo clippy $(LOCKED) --workspace --all-targets --all-features -- -D warnings
	cargo clippy $(LOCKED) $(BENCH_RUST) --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc $(LOCKED) --workspace --all-features --no-deps
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy python/ferromqtt python/ferromqtt_pytest python/aiomqtt-shim/aiomqtt examples/python python/tests/type_checks
# The package holds pyright itself, and requirements/dev.txt a Node.js to run it: nothing is fetched here.
	for project in examples/python python/tests/type_checks; do \
		PYRIGHT_PYTHON_GLOBAL_NODE=0 PYRIGHT_PYTHON_IGNORE_WARNINGS=1 \
			$(BIN)/pyright --pythonpath $(BIN)/python -p $$project; \
	done
	$(BIN)/python -m mypy.stubtest ferromqtt._native
	$(BIN)/python scripts/conformance.py --check
	$(BIN)/python scripts/contract.py --check
	$(BIN)/python scripts/reexported_docs.py
	$(BIN)/python scripts/code_lines.py --check
	$(BIN)/python scripts/errors.py --check
	$(BIN)/python scripts/server_profiles.py --check
	$(BIN)/python scripts/broker_options.py
	$(BIN)/python scripts/design_notes.py
	$(BIN)/python scripts/type_names.py

.PHONY: interop
interop: need-interop .venv/.dev .venv/.native .tools/aedes/.installed upstream ## Both clients against more brokers, and aiomqtt's own tests
	cargo build $(LOCKED) -p ferromqtt-test-client
	$(BIN)/python -m pytest python/tests/interop

.PHONY: upstream
upstream: need-test .venv/.dev .venv-upstream/.installed ## Compare ferromqtt-aiomqtt with aiomqtt: names, types, and its own tests
	python/tests/upstream/run.sh $(BIN)/python .venv-upstream/bin/python .tools/upstream

.PHONY: conformance
conformance: ## Which test proves which statement of the standards, and of aiomqtt's interface (docs/)
	$(PYTHON) scripts/conformance.py
	$(PYTHON) scripts/contract.py

.PHONY: audit
audit: check-instructions .tools/bin/cargo-deny .tools/bin/cargo-fuzz .tools/bin/cargo-public-api planted ## Licences and sources of dependencies; the oldest Rust; public interfaces; instruction counts; planted bugs; the core without an operating system; fuzzing
# Not `advisories`: that database is fetched from a git host, which CI does not reach.
	.tools/bin/cargo-deny $(LOCKED) check bans licenses sources
	.tools/bin/cargo-deny --manifest-path fuzz/Cargo.toml $(LOCKED) check bans licenses sources
	.tools/bin/cargo-deny --manifest-path bench/rust/Cargo.toml $(LOCKED) check bans licenses sources
	rustup toolchain install $(MSRV) --profile minimal
	CARGO_TARGET_DIR=$(TARGET_DIR)/msrv cargo +$(MSRV) check $(LOCKED) $(PUBLISHED:%=-p %) --all-features
	LOCKED=$(LOCKED) scripts/public-api.sh --check
	rustup target add wasm32-unknown-unknown
	cargo build $(LOCKED) -p ferromqtt-no-operating-system --target wasm32-unknown-unknown
	$(PYTHON) scripts/wasm_imports.py $(TARGET_DIR)/wasm32-unknown-unknown/debug/ferromqtt-no-operating-system.wasm
	printf '%s\n' $(FUZZ_TARGETS) | xargs -P $(JOBS) -I TARGET fuzz/run.sh TARGET 60

.PHONY: planted
planted: ## Check that the seeds find the bugs of tests/planted, and shrink each to at most two faults (ONLY=forgets-to-send-again for one)
	$(PYTHON) scripts/planted.py $(TARGET_DIR) $(ONLY)

.PHONY: api
api: .tools/bin/cargo-public-api ## Write what the crates offer (docs/api/)
	scripts/public-api.sh

.PHONY: stress
stress: ## A million messages through 64 tasks and a connection that is cut at random
	cargo test $(LOCKED) --release -p ferromqtt --test stress -- --ignored --nocapture

.PHONY: free-threaded
free-threaded: .venv/.build .venv-free-threaded/.installed ## Threads without the GIL, on a free-threaded CPython that is built once (some minutes)
# A folder of its own, so that this and other builds of the binding do not undo each other. The version check: see
# scripts/free-threaded-python.sh.
	env -u CONDA_PREFIX VIRTUAL_ENV=$(CURDIR)/.venv-free-threaded PYO3_PYTHON=$(CURDIR)/.venv-free-threaded/bin/python \
		CARGO_TARGET_DIR=$(TARGET_DIR)/free-threaded UNSAFE_PYO3_SKIP_VERSION_CHECK=1 $(BIN)/maturin develop $(LOCKED)
	.venv-free-threaded/bin/python -X faulthandler -m pytest python/tests/free_threaded $(FREE_THREADED_TESTS) -k "not uvloop and not mosquitto"

.PHONY: chaos
chaos: need-test .venv/.dev .venv/.native ## Random worlds of the Python client and of the store: SEEDS=2000 of them, from seed FROM=200
	FERROMQTT_FIRST_SEED=$(FROM) FERROMQTT_SEEDS=$(SEEDS) $(BIN)/python -m pytest python/tests/test_chaos.py \
		python/tests/test_request_worlds.py python/tests/test_outbox_worlds.py -k "in_virtual_time or on_mosquitto or random_worlds"
	FERROMQTT_FIRST_SEED=$(FROM) FERROMQTT_SEEDS=$(SEEDS) cargo test $(LOCKED) --release -p ferromqtt-store --test store crashes::random

.PHONY: plugin-runs
plugin-runs: need-test .venv/.dev .venv/.native ## The pytest plugin's own tests, RUNS=200 times beside busy loops, AT_ONCE=2
	$(BIN)/python scripts/beside_busy_loops.py --at-once $(AT_ONCE) $(RUNS) $(BIN)/python -m pytest -q --timeout 300 $(PLUGIN_TESTS)

.PHONY: kills
kills: need-test .venv/.dev .venv/.native ## Kill programs with exactly-once handlers 50 times each, and programs with an outbox KILLS=50 times (20 minutes)
	FERROMQTT_KILLS=50 FERROMQTT_ORDERS=1000 $(BIN)/python -m pytest -s --timeout 600 python/tests/test_once_kill.py
	FERROMQTT_KILLS=50 FERROMQTT_ORDERS=1000 cargo test $(LOCKED) -p ferromqtt --test once kill:: -- --nocapture
	FERROMQTT_KILLS=$(KILLS) $(BIN)/python -m pytest -s --timeout 1800 $(wildcard python/tests/test_outbox_kill*.py)
	FERROMQTT_KILLS=$(KILLS) cargo test $(LOCKED) -p ferromqtt --all-features --test outbox_dies -- --nocapture
	FERROMQTT_KILLS=$(KILLS) cargo test $(LOCKED) -p ferromqtt --all-features --test scenarios outbox_kill:: -- --nocapture

.PHONY: cluster
cluster: need-cluster .venv/.dev .venv/.native .venv/.cluster ## Kill nodes of real clusters under both clients: ROUNDS=6 each (docs/clusters.md has the figures)
	cargo build $(LOCKED) -p ferromqtt-test-client --bin steady
	$(BIN)/python tests/steady/cluster.py --rounds $(ROUNDS) $(ONLY:%=--only %)

.PHONY: soak
soak: need-test .venv/.dev .venv/.native ## Both clients at RATE=1000 messages a second for MINUTES=10, with a cut every 5 s: nothing lost, nothing grows
	cargo build $(LOCKED) -p ferromqtt-test-client --bin steady
	$(BIN)/python tests/steady/soak.py --minutes $(MINUTES) --rate $(RATE) $(ONLY:%=--language %)

.PHONY: fuzz
fuzz: .tools/bin/cargo-fuzz ## Fuzz with TARGET=decode, client, broker, transport or store for SECONDS=60, or with one INPUT=file
	fuzz/run.sh $(TARGET) $(SECONDS) $(INPUT)

.PHONY: wheel
wheel: dist/.built ## Build both Python distributions into dist/

.PHONY: bench-quick
bench-quick: .venv/.dev .venv/.native .venv-aiomqtt/.installed .venv-shim/.installed ## Compare with aiomqtt, rumqttc and ntex-mqtt in a few minutes
	cargo build $(LOCKED) --release -p ferromqtt-bench-peer
	$(BIN)/python bench/quick.py --aiomqtt .venv-aiomqtt/bin/python --ferromqtt .venv/bin/python \
		--shim .venv-shim/bin/python --peer $(TARGET_DIR)/release/ferromqtt-bench-peer
	cargo build $(LOCKED) --release $(BENCH_RUST)
	$(BIN)/python bench/rust.py --peer $(TARGET_DIR)/release/ferromqtt-bench-peer \
		--clients $(TARGET_DIR)/release/ferromqtt-bench-clients

.PHONY: bench-parent
bench-parent: .venv/.dev .venv/.native ## Compare with the parent commit's build, in turns (PARENT=revision for another commit)
	cargo build $(LOCKED) --release -p ferromqtt-bench-peer
	cargo build $(LOCKED) --release $(BENCH_RUST)
	$(BIN)/python bench/parent.py $(PARENT)
	$(BIN)/python bench/quick.py --only-ours --parent $(TARGET_DIR)/parent/.venv/bin/python \
		--peer $(TARGET_DIR)/release/ferromqtt-bench-peer --output bench/results/parent.json
	$(BIN)/python bench/rust.py --only-ours --parent $(TARGET_DIR)/parent/target/release/ferromqtt-bench-clients \
		--peer $(TARGET_DIR)/release/ferromqtt-bench-peer --clients $(TARGET_DIR)/release/ferromqtt-bench-clients

.PHONY: instructions check-instructions build-instructions
build-instructions: need-audit .venv/.dev .venv/.native
	cargo build $(LOCKED) --release -p ferromqtt-bench-instructions
check-instructions: build-instructions ## Compare the instruction counts of fixed workloads with the recorded ones
	$(BIN)/python -m pytest --quiet bench/tests
	$(BIN)/python bench/instructions.py check
instructions: build-instructions ## Record the instruction counts (bench/instructions.toml)
	$(BIN)/python bench/instructions.py record

.PHONY: bench-codec
bench-codec: ## Compare the codec's CPU time per message with other crates'
	cargo run $(LOCKED) --release -p ferromqtt-bench-codec

.PHONY: bench-first-test
bench-first-test: .venv-wheel/.installed ## What a user's first test costs, and that there is a plugin
	.venv-wheel/bin/python bench/first_test.py

.PHONY: bench-growth
bench-growth: .venv/.dev .venv/.native ## How cost and memory grow with what is held, against bars (ONLY=abandon for one group)
	met=true; \
	cargo run $(LOCKED) --release -p ferromqtt-bench-growth -- $(if $(ONLY),--only $(ONLY)) || met=false; \
	$(if $(ONLY),,$(BIN)/python bench/growth.py || met=false;) \
	$$met

.PHONY: bench-outbox
bench-outbox: .venv/.dev .venv/.native ## The outbox beside the disk and beside a client without one, against bars (ONLY=64, 1024 or opening)
	cargo build $(LOCKED) --release -p ferromqtt-bench-peer -p ferromqtt-bench-outbox
	$(BIN)/python bench/outbox.py --outbox $(TARGET_DIR)/release/ferromqtt-bench-outbox \
		--peer $(TARGET_DIR)/release/ferromqtt-bench-peer $(if $(ONLY),--only $(ONLY))

.PHONY: clean
clean: ## Remove everything that was built or installed here
	cargo clean
	rm -rf .venv .venv-aiomqtt .venv-free-threaded .venv-shim .venv-upstream .venv-wheel .tools dist fuzz/target fuzz/artifacts .mypy_cache .pytest_cache .ruff_cache
	rm -f python/ferromqtt/_native*.so
	find python bench examples scripts -name __pycache__ -type d -prune -exec rm -r {} +

# Each stamp lives in the folder that it speaks of, and goes with it.

.venv/.created .venv-aiomqtt/.created .venv-shim/.created .venv-upstream/.created .venv-wheel/.created:
	scripts/venv.sh $(@D)
	touch $@

.tools/free-threaded/.installed: scripts/free-threaded-python.sh
	$< $(@D)
	touch $@

.venv-free-threaded/.installed: requirements/free-threaded.txt .tools/free-threaded/.installed
	PYTHON=.tools/free-threaded/bin/python3 scripts/venv.sh $(@D)
	.venv-free-threaded/bin/python $(PIP_INSTALL) --only-binary :all: -r $<
	touch $@

.venv/.build: requirements/build.txt .venv/.created
	$(BIN)/python $(PIP_INSTALL) -r $<
	touch $@

.venv/.dev: requirements/dev.txt requirements/test.txt requirements/build.txt .venv/.created
	$(BIN)/python $(PIP_INSTALL) -r $<
	touch $@

.venv/.cluster: requirements/cluster.txt .venv/.created
	$(BIN)/python $(PIP_INSTALL) -r $<
	touch $@

# Installed in place: a change of a Python file needs no new build.
.venv/.native: $(NATIVE_SOURCES) .venv/.build
	env -u CONDA_PREFIX VIRTUAL_ENV=$(VENV) $(BIN)/maturin develop --release $(LOCKED)
	touch $@

dist/.built: scripts/wheel.sh $(NATIVE_SOURCES) $(PYTHON_SOURCES) .venv/.dev
	scripts/wheel.sh $(BIN)/python dist $(LOCKED)
	touch $@

.venv-aiomqtt/.installed: bench/requirements-aiomqtt.txt .venv-aiomqtt/.created
	.venv-aiomqtt/bin/python $(PIP_INSTALL) -r $<
	touch $@

.venv-shim/.installed: dist/.built .venv-shim/.created
	.venv-shim/bin/python $(PIP_INSTALL) --force-reinstall --no-index dist/*.whl
	touch $@

.venv-upstream/.installed: requirements/upstream.txt dist/.built .venv-upstream/.created
	.venv-upstream/bin/python $(PIP_INSTALL) -r $<
	.venv-upstream/bin/python $(PIP_INSTALL) --force-reinstall --no-index dist/*.whl
	touch $@

# Where Node.js cannot be had this says so, and the tests say that aedes is not run.
.tools/aedes/.installed: $(wildcard python/tests/interop/aedes/*.json) python/tests/interop/aedes/install.sh
	python/tests/interop/aedes/install.sh $(@D)
	test -e $(@D)/not-run || touch $@

.venv-wheel/.installed: dist/.built requirements/test.txt .venv-wheel/.created
	.venv-wheel/bin/python $(PIP_INSTALL) --only-binary :all: -r requirements/test.txt
	.venv-wheel/bin/python $(PIP_INSTALL) --force-reinstall --no-index dist/*.whl
	touch $@

.tools/bin/cargo-deny: Makefile
	$(TOOL_INSTALL) cargo-deny --version $(CARGO_DENY_VERSION) --root .tools
	touch $@

.tools/bin/cargo-fuzz: Makefile
	$(TOOL_INSTALL) cargo-fuzz --version $(CARGO_FUZZ_VERSION) --root .tools
	touch $@

.tools/bin/cargo-public-api: Makefile
	$(TOOL_INSTALL) cargo-public-api --version $(CARGO_PUBLIC_API_VERSION) --root .tools
	touch $@
