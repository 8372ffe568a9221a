# make demo      the story of a good push and a bad push, on this machine
# make test      every test, but for stages of Terraform that are like the one it applies
# make infra-test      those of terraform/ and its hosts alone; infra-test-all: every stage too
# make check     what CI asks for beside the tests
# make scan      checkov over terraform/, which the tests run too
# make package   the bundle for Lambda              (STAGE=staging)
# make deploy    package, chalice deploy, after_deploy (STAGE=staging; needs your AWS account)
# make bench     cold start and size of the bundle; a storm of alarms
# make format    put the code into shape, write schema.json and the policies
# make clean     remove what make built

PYTHON ?= python3
STAGE ?= staging
PY := .venv/bin/python
READY := .venv/.ready
SCAN := .venv-checkov/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test infra-test infra-test-all terraform check scan package deploy bench format clean

help:
	@sed -n 's/^# make/make/p' Makefile

# Built once; again only when a list of packages changes.
$(READY): requirements.txt requirements-vendor.txt requirements-dev.txt pyproject.toml
	test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

# Apart, because checkov pins another boto3.
$(SCAN): requirements-scan.txt
	test -x .venv-checkov/bin/python || $(PYTHON) -m venv .venv-checkov
	.venv-checkov/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-scan.txt
	touch $@

demo: $(READY)
	$(PY) -m sandbox

# In two parts: Terraform takes both cores, and scenarios that are kept waiting end otherwise.
test: $(READY) $(SCAN)
	$(PY) -m pytest -n 3 --dist worksteal -m "not every_stage" --ignore tests/e2e
	$(PY) -m pytest -n 2 --dist worksteal tests/e2e

terraform:
	@command -v terraform >/dev/null || { echo "terraform 1.11 or later is not on PATH: https://developer.hashicorp.com/terraform/install" >&2; exit 1; }

infra-test: $(READY) $(SCAN) terraform
	$(PY) -m pytest -n 2 --dist worksteal -m "not every_stage" tests/infra

infra-test-all: $(READY) $(SCAN) terraform
	$(PY) -m pytest -n 2 --dist worksteal tests/infra

check: $(READY)
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	$(PY) -m mypy
	.venv/bin/lint-imports
	$(PY) -m chalicelib.fleet chalicelib/fleet/*.yaml
	$(PY) -m tools.policies --check

scan: $(SCAN)
	.venv-checkov/bin/checkov --directory terraform --framework terraform --compact --quiet --skip-download

package: $(READY)
	$(PY) -m tools.package --stage $(STAGE)

deploy: package
	PYTHONDONTWRITEBYTECODE=1 .venv/bin/chalice deploy --stage $(STAGE)
	$(PY) -m tools.after_deploy --stage $(STAGE)

bench: $(READY)
	$(PY) -m bench.bundle_size --stage $(STAGE)
	$(PY) -m bench.cold_start --stage $(STAGE)
	$(PY) -m bench.incident_storm

format: $(READY)
	$(PY) -m ruff check --fix-only --quiet
	$(PY) -m ruff format
	$(PY) -m chalicelib.fleet --schema > chalicelib/fleet/schema.json
	$(PY) -m tools.policies

clean:
	rm -rf .venv .venv-checkov vendor build .chalice/deployments .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
