# petset's own tasks. Which packages of the system they need stands in src/petset/system-packages.txt.
# `make demo` and `make test` set up everything they need on a fresh Debian 12 as root.

# PYTHON3=/path/to/python3 sets up with that Python; by default it is Debian's own, else the first on PATH.
export PYTHON3

VENV := .venv
PYTHON := $(VENV)/bin/python
NEWEST := .venv-newest
VM := .vm

# What needs no containers, no images and no other programs: seconds, with any Python.
QUICK_TESTS := $(filter-out tests/clients tests/e2e tests/images tests/torture,$(patsubst %/,%,$(wildcard tests/*/)))

# A file is one process's, and none is put before others for having more tests.
IN_FILES := --dist loadfile --no-loadscope-reorder
CHECK = $(MAKE) --no-print-directory check

.PHONY: demo test test-fresh test-newest test-vm test-services test-clients test-cluster conformance fuzz-api torture check bench profile docs clean pin setup setup-dev system system-test system-vm system-services

demo: system setup
	@$(VENV)/bin/petset demo redis

# Three at once on two cores: what waits for containers leaves a core to the others (tests/conftest.py says in which order). The checks of
# the sources go on meanwhile, and are shown in the end.
test: system-test setup-dev
	@scripts/beside '$(CHECK)' '$(PYTHON) -m pytest -n 3 $(IN_FILES) tests'

# The laws alone, with other examples every time, or with those of SEED.
test-fresh: setup-dev
	@$(PYTHON) -m tests.torture.laws $(SEED)

# Its worlds are others than those of `test`.
test-newest: system-test $(NEWEST)/installed
	@$(NEWEST)/bin/python --version
	@WORLD_FIRST=400 $(NEWEST)/bin/python -m pytest -n 2 $(IN_FILES) $(QUICK_TESTS)

# A Debian 12 with systemd, booted by qemu: minutes, or an hour under emulation. What it saw last: docs/reliability.md.
test-vm: system system-vm setup
	@scripts/vm/build $(VM) $$(scripts/setup-system --names run build)
	@scripts/vm/run $(VM) v2
	@scripts/vm/run $(VM) v1

test-services: system-services setup-dev
	@$(PYTHON) -m pytest -m services tests/e2e tests/images

# Other projects' tests of their clients, unchanged, and other projects' programs, against a petset: SUITES says which (default: all; those
# of Go modules need go 1.26). What is downloaded stays in .cache.
test-clients: system-test setup-dev
	@$(PYTHON) -m tests.suites $(SUITES)

# Kubernetes' own specs of conformance, unchanged, compiled from its module (the first time takes the better part of an hour; needs go 1.26).
# GROUPS says which (sig-apps, sig-node, ...; default: all), SECONDS how long each may take.
conformance: system-test setup-dev
	@$(PYTHON) -m tests.suites.conformance $(GROUPS) $(if $(SECONDS),--seconds=$(SECONDS))

# petset beside a real Kubernetes, whose own programs PETSET_KUBERNETES names (etcd, kube-apiserver, kube-controller-manager, kube-scheduler);
# without it they are compiled from their modules (the first time takes the better part of an hour; needs go 1.26).
test-cluster: system-test setup-dev
	@$(PYTHON) -m tests.suites.kubernetes $(PYTHON) -m pytest tests/e2e/test_serve.py tests/e2e/test_serve_rights.py

# Requests made up from the served OpenAPI documents: GROUPS says which (api/v1, apis/apps/v1, ...; default: all), SECONDS for how long each,
# SEED where it begins.
fuzz-api: system-test setup-dev
	@$(PYTHON) -m tests.suites.fuzz $(GROUPS) $(foreach name,SECONDS SEED,$(if $($(name)),--$(shell echo $(name) | tr A-Z a-z)=$($(name))))

# KILLS, FUZZ, HEAVY, PATHS, CHURN, LAWS and SCHEDULES say how much of each loop, SECONDS for how long it goes on, SEED where it begins.
torture: setup-dev
	@$(PYTHON) -m tests.torture $(foreach name,KILLS FUZZ HEAVY PATHS CHURN LAWS SCHEDULES PROCESSES SECONDS SEED,$(if $($(name)),--$(shell echo $(name) | tr A-Z a-z)=$($(name))))

check: setup-dev
	@$(VENV)/bin/ruff check src tests scripts bench
	@$(VENV)/bin/ruff format --check src tests scripts bench
	@$(VENV)/bin/pyright --pythonpath $(PYTHON)
	@$(VENV)/bin/lint-imports

bench: system-test setup-dev
	@$(PYTHON) -m bench

# Where the time goes: a pet's start event by event, and what petset computes while many pods come.
profile: system-test setup-dev
	@$(PYTHON) -m bench.profile

# The site of docs/, in .cache/site; a link that leads nowhere fails it.
docs: $(VENV)/installed-docs
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet
	@echo "docs: .cache/site/index.html"

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

$(VENV)/installed-docs: $(VENV)/installed-dev requirements-docs.txt
	@scripts/setup-python $(VENV) requirements-docs.txt
	@touch $@

$(NEWEST)/installed: requirements.txt requirements-dev.txt pyproject.toml
	@PYTHON3=$$(scripts/newest-python $(NEWEST)/cpython) && \
		PYTHON3=$$PYTHON3 scripts/setup-python $(NEWEST) requirements.txt requirements-dev.txt
	@touch $@

system:
	@scripts/setup-system run build

system-test:
	@scripts/setup-system run build test

system-vm:
	@scripts/setup-system vm

system-services:
	@scripts/setup-system run build test jars browser monitor rootless

# Takes away what make itself has made. The state directory stays: `petset destroy` is what deletes data.
clean:
	@if [ -x $(VENV)/bin/petset ] && $(VENV)/bin/petset status >/dev/null 2>&1; then \
		echo "cannot clean: petset is running here; run $(VENV)/bin/petset down first" >&2; exit 1; fi
	rm -rf $(VENV) $(NEWEST) $(VM) .cache/site .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist src/petset.egg-info
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
