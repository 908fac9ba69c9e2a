# petset's own tasks. `make demo` and `make test` set up everything they need on a fresh Debian 12 as root.

VENV := .venv
PYTHON := $(VENV)/bin/python
SYSTEM_PACKAGES := crun conmon skopeo umoci mmdebstrap nftables util-linux golang-github-containers-common
TEST_PACKAGES := docker-registry busybox-static iproute2
SERVICE_PACKAGES := maven

.PHONY: demo test test-services check bench clean pin setup setup-dev system system-test system-services

demo: system setup
	@$(VENV)/bin/petset demo redis

test: system-test setup-dev check
	@$(PYTHON) -m pytest -n 2 --dist loadfile tests

test-services: system-services setup-dev
	@$(PYTHON) -m pytest -m services tests/e2e tests/images

check: setup-dev
	@$(VENV)/bin/ruff check src tests scripts bench
	@$(VENV)/bin/ruff format --check src tests scripts bench
	@$(VENV)/bin/pyright --pythonpath $(PYTHON)
	@$(VENV)/bin/lint-imports

bench: system-test setup-dev
	@$(PYTHON) -m bench

pin: setup-dev
	@scripts/pin

setup: $(VENV)/installed
setup-dev: $(VENV)/installed-dev

$(VENV)/installed: requirements.txt pyproject.toml
	@scripts/setup-python $(VENV) requirements.txt
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.txt
	@scripts/setup-python $(VENV) requirements-dev.txt
	@touch $@

system:
	@scripts/setup-system $(SYSTEM_PACKAGES)

system-test:
	@scripts/setup-system $(SYSTEM_PACKAGES) $(TEST_PACKAGES)

system-services:
	@scripts/setup-system $(SYSTEM_PACKAGES) $(TEST_PACKAGES) $(SERVICE_PACKAGES)

clean:
	@if [ -x $(VENV)/bin/petset ] && [ -d .petset ]; then $(VENV)/bin/petset down >/dev/null 2>&1 || true; fi
	rm -rf $(VENV) .petset .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist src/petset.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
