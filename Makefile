# All set-up happens in .venv; a stamp file there says what is done, so a second call starts at once.
# Variables, each may be set as in `make run ARGS="digits trainer.max_epochs=1"`:
#   ARGS         what `make run` tells `python -m experiments.run`, and `make test` tells pytest
#   PYTHON       the interpreter that .venv is made from (default: the first found that is >= 3.11)
#   VENV         where the environment lies (default: .venv)
#   EXTRAS       what `make install` installs (default: experiments)
#   CONSTRAINTS  a file with exact versions (default: constraints.txt; empty: the newest that pip finds)
#   PIP_ARGS     more options for pip, for instance another index with CPU-only or CUDA builds of torch
#   JOBS         how many extensions are compiled, and tests run, at a time (default: the number of cores)

VENV ?= .venv
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && { echo $$p; break; }; done)
EXTRAS ?= experiments
CONSTRAINTS ?= constraints.txt
PIP_ARGS ?=
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2> /dev/null || echo 2)
ARGS ?=
# pip leaves bytecode to the first import (--no-compile); where none were written, every process would compile torch anew.
unexport PYTHONDONTWRITEBYTECODE

py := $(VENV)/bin/python
metadata := setup.cfg setup.py $(CONSTRAINTS)
pytest := OMP_NUM_THREADS=1 $(py) -m pytest -n $(JOBS) --dist worksteal --cov
pip := $(py) -m pip --disable-pip-version-check --no-input install $(PIP_ARGS) $(addprefix -c ,$(CONSTRAINTS))
kernels_import := import torch_scatter, torch_cluster

.PHONY: run test kernels install lint docs clean help
.DELETE_ON_ERROR:
.NOTPARALLEL:

run: $(VENV)/stamp-experiments  ## Install what training needs and run `python -m experiments.run $(ARGS)`
	$(py) -m experiments.run $(ARGS)

test: $(VENV)/stamp-all kernels lint  ## Install everything, build the kernels, lint, and run all tests with coverage
	$(py) -m coverage erase
	$(pytest) -m 'not slow' --cov-report= $(ARGS)
	$(pytest) -m slow --cov-append --cov-report= $(ARGS) || [ $$? -eq 5 ]  # 5: no slow tests.
	$(py) -m coverage report --omit='mlsgm_pyg/app/*' --fail-under=95  # The library.
	$(py) -m coverage report --include='mlsgm_pyg/app/*' --fail-under=85  # The tool.

lint: $(VENV)/stamp-all  ## Check style and formatting
	$(py) -m ruff check .
	$(py) -m ruff format --check .

docs: $(VENV)/stamp-docs  ## Build the API pages and the tutorial: docs/_build/index.html
	$(py) -m sphinx -q -W --keep-going docs docs/_build

kernels: $(VENV)/stamp-kernels  ## Build torch-scatter and torch-cluster, which every command then uses

install: $(VENV)/stamp-$(EXTRAS)  ## Only install, with the extras named by EXTRAS (experiments, all, ...)

# The kernels compile against the torch that is installed (hence no build isolation). A wheel that pip kept from another
# version of torch installs but does not import: it is then built again.
$(VENV)/stamp-kernels: $(metadata) | $(VENV)/stamp-experiments
	@$(py) -c '$(kernels_import)' 2> /dev/null || { \
	set -e; config=$$(mktemp); trap 'rm -f "$$config"' EXIT; \
	printf '[build_ext]\nparallel = %s\n' '$(JOBS)' > "$$config"; \
	export DIST_EXTRA_CONFIG="$$config" CFLAGS="$${CFLAGS:-} -g0"; \
	echo 'Building torch-scatter and torch-cluster with $(JOBS) jobs: about 10 minutes on two cores the first time' \
		'(pip keeps the wheels: seconds afterwards) ...'; \
	$(pip) --quiet setuptools wheel; \
	build="$(pip) --no-build-isolation --no-deps torch-scatter torch-cluster"; \
	$$build; \
	$(py) -c '$(kernels_import)' 2> /dev/null || { \
		echo 'The kept wheels belong to another version of torch: building anew ...'; \
		$$build --no-cache-dir --force-reinstall; $(py) -c '$(kernels_import)'; }; }
	@touch $@

$(VENV)/stamp-%: $(metadata) | $(py)
	@echo 'Installing mlsgm_pyg[$*] into $(VENV): a few minutes where torch is not yet there ...'
	@$(pip) --no-compile --use-pep517 -e '.[$*]'
	@touch $@ $(if $(filter all,$*),$(VENV)/stamp-experiments)
	@[ '$*' != experiments ] || $(py) -c '$(kernels_import)' 2> /dev/null || \
		echo 'torch-scatter and torch-cluster are not installed: PyTorch versions of the same operations run instead,' \
		'with the same results. `make kernels` builds both.'

$(py):
	@[ -n '$(PYTHON)' ] || { echo 'mlsgm_pyg needs Python >= 3.11 and found none: install one, or say where it is' \
		'(make PYTHON=/path/to/python3.12 ...)' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "mlsgm_pyg needs Python >= 3.11 (got $$($(PYTHON) --version 2>&1) from '$(PYTHON)')" >&2; exit 1; }
	@echo 'Making $(VENV) with $(PYTHON) ...'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

clean:  ## Remove the environment and what tests leave behind
	rm -rf $(VENV) .coverage .pytest_cache .ruff_cache *.egg-info build docs/_build

help:  ## Print this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 12
	@sed -n '/^# Variables/,/^$$/ s/^# \{0,1\}//p' $(MAKEFILE_LIST)
