# `make demo` shows a whole restore, `make test` checks all that needs no cloud. Both start from nothing but Python.
# `make test-cloud` checks the rest, on a real OpenStack that `make cloud` brings up: see tests/cloud/README.md.

PYTHON ?= python3
BIN := .venv/bin
LOCK := UV_CUSTOM_COMPILE_COMMAND='make lock' $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-annotate --upgrade
CLOUD := $(BIN)/python -m tests.cloud.openstack_cloud
PIP := $(BIN)/pip --disable-pip-version-check --quiet

.PHONY: site setup demo demo-cloud test test-tools unit fuzz lint types audit cloud test-cloud test-other-site test-tenant cloud-down cloud-wipe chaos chaos-cloud bench soak docs lock clean

setup: .venv/.dev

demo: .venv/.runtime
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/demo.sh

demo-cloud: .venv/.runtime cloud
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/demo-cloud.sh

# Tests come last, so that their summary does. They wait more than they compute: two for each core.
SIDE_BY_SIDE = $$((2 * $$(getconf _NPROCESSORS_ONLN)))
test: lint types site
	$(BIN)/pytest -n $(SIDE_BY_SIDE)

unit: .venv/.dev
	$(BIN)/pytest -n auto tests/unit

# What needs programs of Debian: pages in a browser, alert rules in Prometheus. Root or sudo if they are not there.
test-tools: .venv/.dev
	sh tests/tools/install.sh
	$(BIN)/pytest tests/tools

# docs/ as a site, in build/site; what links to nowhere ends it.
site: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Looks by coverage for bytes that break a parser: FUZZ names targets of tests/fuzz/targets.py, all of them unless told.
SECONDS ?= 60
fuzz: .venv/.dev
	$(BIN)/python -m tests.fuzz $(SECONDS) $(FUZZ)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.dev
	$(BIN)/mypy

# Asks a service on the internet; where that cannot be reached, it says so.
audit: .venv/.dev
	$(BIN)/python .ci/audit.py -r requirements/runtime.txt -r requirements/dev.txt

# An OpenStack on 127.0.0.1; Debian or Ubuntu only, and root or sudo the first time.
cloud: | .venv/bin/python
	@$(CLOUD) up

# Two files at a time, then one by one those that stop a service, change what all may use, or count who asks. Chaos, the
# second cloud and the large tenant are apart.
APART := test_chaos test_other_site test_tenant
CLOUD_TESTS := $(BIN)/pytest tests/cloud $(APART:%=--ignore=tests/cloud/%.py)
test-cloud: .venv/.dev cloud
	$(CLOUD_TESTS) -m "not disturbs" -n 2 --dist loadfile --durations=10
	$(CLOUD_TESTS) -m disturbs --durations=10

# From one cloud to another: the second one is brought up for it, and stopped again.
test-other-site: .venv/.dev cloud
	$(BIN)/pytest tests/cloud/test_other_site.py

# 150 resources in three stacks, of which one fails at first: a quarter of an hour.
test-tenant: .venv/.dev cloud
	$(BIN)/pytest tests/cloud/test_tenant.py

cloud-down: | .venv/bin/python
	@$(CLOUD) down

# Forgets all that the clouds keep; what is installed stays.
cloud-wipe: | .venv/bin/python
	@$(CLOUD) wipe

# Hundreds of restores while processes are killed: half an hour to an hour.
chaos: .venv/.dev
	$(BIN)/python -m tests.chaos --runs 200 --seed 1 --report docs/reliability.md

# The same on the test cloud, whose APIs are killed.
chaos-cloud: .venv/.dev cloud
	$(BIN)/pytest tests/cloud/test_chaos.py

bench: .venv/.dev
	$(BIN)/python -m benchmarks

# A thousand restores, until all of them have expired: ten minutes.
soak: .venv/.dev
	$(BIN)/python -m benchmarks.soak

# The pages that are drawn from the code.
docs: .venv/.dev
	$(BIN)/python -m docs.reference

# Takes the newest versions that pyproject.toml allows, for each Python and machine that it allows.
lock: .venv/.dev
	echo 'setuptools>=77' | $(LOCK) pyproject.toml - -o requirements/runtime.txt
	$(LOCK) --extra dev -c requirements/runtime.txt pyproject.toml -o requirements/dev.txt
	$(LOCK) tests/cloud/requirements.in -o tests/cloud/requirements.txt

clean:
	rm -rf .venv .fuzz .mypy_cache .ruff_cache .hypothesis build *.egg-info

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'restore-worker needs Python 3.11 or newer: name one, as in `make $(MAKECMDGOALS) PYTHON=python3.12`' >&2; \
		exit 1; }
	@$(PYTHON) -m venv .venv

.venv/.runtime: requirements/runtime.txt pyproject.toml | .venv/bin/python
	@echo 'Setting up .venv with restore-worker and what it needs (half a minute) ...'
	@$(PIP) install --require-hashes -r requirements/runtime.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.runtime requirements/dev.txt
	@echo 'Adding what the tests need: Heat, Swift, moto and more (one to three minutes) ...'
	@$(PIP) install --require-hashes --no-build-isolation -r requirements/dev.txt
	@touch $@
