# Everything here needs Python 3.11+ and make, and nothing else: `make help` says what there is.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(VENV)/uv/bin/uv
UV_VERSION := 0.13.9

# The machine's own certificates: behind a proxy of one's own, uv would trust none but those it ships.
export UV_SYSTEM_CERTS ?= 1
.DEFAULT_GOAL := help
.PHONY: help setup run test proof faults fuzz audit sbom lint types contracts walk bench bench-quick bench-realtime
.PHONY: bench-sending bench-growth flames docs lock clean servers clients-check check check-processes check-browser check-faults check-fuzz

help:  ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed  ## Make the environment from the locked, hash-checked versions.

# uv lives in an environment of its own, so that the project's holds only what the lock names.
$(UV):
	$(PYTHON) -m venv $(VENV)/uv
	$(VENV)/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# The lock names no registry: `uv export` turns it into hashed requirements, and the machine's own
# index settings say where they come from.
$(VENV)/.installed: pyproject.toml uv.lock | $(UV)
	$(PYTHON) -m venv $(VENV)
	$(UV) export --frozen --quiet --all-groups --no-group bench --no-group audit --no-group fuzz --no-group clients --all-extras --no-emit-project --output-file $(VENV)/requirements.txt
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes $(VENV)/requirements.txt
	rm -f $(BIN)/messenger
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
# What one yardstick needs lives apart: Litestar loads pydantic where it finds it, and would be another one.
	$(UV) export --frozen --quiet --only-group bench --no-emit-project --output-file $(VENV)/bench.txt
	$(UV) pip sync --quiet --python $(BIN)/python --target $(VENV)/bench --require-hashes $(VENV)/bench.txt
# So do the programs that look at us from outside: they bring pytest plugins and half a web framework along.
	$(PYTHON) -m venv $(VENV)/checks
	$(UV) export --frozen --quiet --only-group audit --only-group fuzz --no-emit-project --output-file $(VENV)/checks.txt
	$(UV) pip sync --quiet --python $(VENV)/checks/bin/python --require-hashes $(VENV)/checks.txt
	@touch $@

# What running needs and no more, in an environment of its own: no tests, linters, generators.
RUN := $(VENV)/run
$(RUN)/.installed: pyproject.toml uv.lock | $(UV)
	@echo "Installing the server into $(RUN), once (about 200 MB) ..."
	@$(PYTHON) -m venv $(RUN)
	@$(UV) export --frozen --quiet --no-dev --extra embedded --extra chat --no-emit-project --output-file $(RUN)/requirements.txt
	@$(UV) pip sync --python $(RUN)/bin/python --require-hashes $(RUN)/requirements.txt
	@echo "$(CURDIR)/src" > "$$($(RUN)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/messenger.pth"
	@mkdir -p $(BIN)
	@test -e $(BIN)/messenger || { printf '#!/bin/sh\nexec "%s" -m messenger "$$@"\n' "$(CURDIR)/$(RUN)/bin/python" > $(BIN)/messenger; chmod +x $(BIN)/messenger; }
	@touch $@

run: $(RUN)/.installed  ## Start the server, with a PostgreSQL of its own unless MESSENGER_DATABASE_URL is set.
	exec $(RUN)/bin/python -m messenger serve

# Whole servers, their faults, hostile bytes and browsers take minutes; each kind has a target of its own.
SLOW := tests/attacks tests/browser tests/embedded tests/faults tests/fuzz tests/end_to_end tests/model

test: setup  ## Run the tests on a PostgreSQL of their own, but for those of the `check-` targets (under five minutes).
	$(BIN)/pytest -n 2 $(SLOW:%=--ignore=%)

check: test check-processes check-browser check-faults check-fuzz  ## All tests, the slow ones included.

check-processes: setup  ## Whole servers and their databases: start, kill, upgrade, hostile and slow clients, the model test.
	$(BIN)/pytest -n 2 tests/end_to_end tests/embedded tests/attacks tests/model

check-browser: setup  ## The demo page in Chromium.
	$(BIN)/pytest -n 2 tests/browser

check-faults: setup  ## Every fault, a few cycles each; `make faults` is the long form.
	$(BIN)/pytest -n 2 tests/faults

check-fuzz: setup  ## The fuzz tests in their short form; `make fuzz` is the long one.
	$(BIN)/pytest -n 2 tests/fuzz

proof: setup  ## The model test in its long form: a hundred new ways (well over ten minutes).
	MESSENGER_PROOF=long $(BIN)/pytest -s tests/model

CYCLES ?= 20
faults: setup  ## Break a server in every known way under load, CYCLES (20) times each, into build/faults.
	$(BIN)/python -m tests.faults --cycles $(CYCLES)

fuzz: setup  ## schemathesis and hypothesis against a running server, for FUZZ_SECONDS (an hour) from FUZZ_SEED on.
	FUZZ_SECONDS=$${FUZZ_SECONDS:-3600} $(BIN)/pytest -s -p no:randomly tests/fuzz

audit: setup  ## Known vulnerabilities of the locked versions; says so where nobody can be asked.
	$(UV) export --frozen --quiet --all-groups --all-extras --no-emit-project --output-file $(VENV)/locked.txt
	$(BIN)/python tools/audit.py $(VENV)/locked.txt

sbom: setup  ## The lock's bill of materials (CycloneDX 1.5), checked: build/sbom.json.
	$(VENV)/checks/bin/python tools/sbom.py $(UV) build/sbom.json

$(VENV)/clients/.installed: uv.lock | $(UV)
	$(PYTHON) -m venv $(VENV)/clients
	$(UV) export --frozen --quiet --only-group clients --no-emit-project --output-file $(VENV)/clients.txt
	$(UV) pip sync --quiet --python $(VENV)/clients/bin/python --require-hashes $(VENV)/clients.txt
	@touch $@

clients-check: setup $(VENV)/clients/.installed  ## Generate TypeScript, Dart, Swift and Kotlin clients, and check that they decode events (20 s; needs node and Java).
	$(BIN)/python -m tests.generated_clients

servers:  ## Install what some tests need, from Debian's packages: NATS, Redis, Chromium, iproute2, iptables, faketime, PgBouncer, coturn, nginx.
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nats-server redis-server chromium iproute2 iptables faketime pgbouncer coturn nginx-light > /dev/null

lint: setup  ## Style, formatting, banned calls, the Dockerfile.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/banned_calls.py src
	$(BIN)/python tools/docs.py --check
	$(BIN)/hadolint Dockerfile
	$(BIN)/python tools/compose.py

types: setup  ## Static types, strict.
	$(BIN)/mypy

contracts: setup  ## Who may import whom.
	$(BIN)/lint-imports

lock:  ## Resolve anew, and strip the registry's addresses from the lock.
	$(MAKE) $(UV)
	$(UV) lock $(LOCKFLAGS)
	sed -i -E 's#registry = "[^"]*"#registry = "index"#; s#url = "[^"]*/([^"/]+)"#filename = "\1"#' uv.lock

clean:  ## Remove the environment (never the data).
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

bench: setup  ## All benchmarks, beside a hand-written ceiling and a baseline (under 15 minutes), into build/bench.
	$(BIN)/python benchmarks/all.py

bench-quick: setup  ## The same in short forms (about two minutes).
	$(BIN)/python benchmarks/all.py --quick

bench-realtime: setup  ## Latency, fan-out, idle sockets, resuming, presence, slow readers; then the bus.
	$(BIN)/python benchmarks/realtime.py
	$(BIN)/python benchmarks/bus.py

bench-sending: setup  ## Sending by 16 and 64 senders, and at 200 and 500 messages a second (two minutes).
	$(BIN)/python benchmarks/sending.py

bench-growth: setup  ## What requests cost with ten times the users and messages (a quarter of an hour or more, 12 GB under /var/tmp).
	$(BIN)/python benchmarks/growth.py

flames: setup  ## Flame graphs of the three hottest endpoints, into docs/pictures (about three minutes).
	$(BIN)/python benchmarks/flames.py

walk: setup  ## The README's walk, on a server of its own.
	$(BIN)/python tools/smoke.py

docs: setup  ## Write the pages that say what the code says.
	$(BIN)/python tools/docs.py
