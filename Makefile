# Two commands for a newcomer: `make demo` and `make test`. Needed: Python >= 3.11 and make, nothing else.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test docs chaos model first-contact guards versions up clean bench compose-test celery-test end-to-end

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# What is set for another project must not leak into this environment.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV
# uv's store may lie on another filesystem, where hard links do not reach.
export UV_LINK_MODE ?= copy

help:  ## This list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | while IFS='|' read -r name text; do printf '%-20s%s\n' "$$name" "$$text"; done

demo: $(READY)  ## Import a quarter's earned badges into the simulator through Airflow, and check the account
	@$(BIN)/python -m dev.demo

test: $(READY)  ## Formatter check, linter, types, import contract and all tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@# Three processes for two processors: a third of the time tests wait, for schedulers, browsers and disks.
	$(BIN)/pytest -n 3

docs: $(READY)  ## The documentation as pages in site/, built without network; open site/index.html
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "site/index.html (for its search: $(BIN)/python -m http.server --directory site)"

end-to-end: $(READY)  ## The longest of test: a real scheduler on PostgreSQL, backfills, clears, killed workers (4 min)
	@$(BIN)/pytest tests/end_to_end

chaos: $(READY)  ## Kill import jobs hundreds of times under random faults, and compare rows, ledger and grants (10 min)
	@$(BIN)/python -m dev.chaos --seeds 1-25 --rows 2500 --deaths 7 --ledger both --killed-often 100000 \
	  --modes all

model: $(READY)  ## Explore every interleaving of the import's protocol, further than test does (7 min)
	@$(BIN)/python -m dev.model

first-contact: $(READY)  ## Probe every API that the simulator can be, 82,944 of them (20 min)
	@$(BIN)/python -m dev.first_contact

guards: $(READY)  ## Switch each guard off in a copy, and see that a test fails (5 min)
	@$(BIN)/python -m dev.guards

versions: $(READY)  ## The tests on Airflow 3.2, and on Python 3.12 and 3.13 where they are installed (an hour)
	@$(BIN)/python -m dev.versions

up: $(READY)  ## Airflow's UI and scheduler, simulator and PostgreSQL, to look at and to play with; Ctrl-C stops all
	@$(BIN)/python -m dev.stack.up

clean:  ## Remove what demo, up, bench and tests left (the sample ledger too), caches, builds; never .venv, .versions
	@if [ -d .up ] && [ -x $(BIN)/python ]; then $(BIN)/python -m dev.stack.up --remove; fi
	@rm -rf .demo .up .bench .compose .screenshots site .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .coverage .coverage.* \
	  build dist *.egg-info
	@find . \( -name .venv -o -name .versions \) -prune -o -type d -name __pycache__ -exec rm -rf {} +

bench: $(READY)  ## Speed, memory and faults beside other ways to do it, each in its own environment (hours)
	@$(BIN)/python -m benchmarks

compose-test: $(READY)  ## Bring docker-compose.yaml up, run two DAGs in it, bring it down (root and Debian; 4 to 11 min)
	@$(BIN)/python -m dev.compose

celery-test: $(READY)  ## A million rows over two Celery workers and Redis, one killed; 1 and 2 workers; 16 at once (17 min)
	@$(BIN)/python -m dev.many_workers

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, and '$(PYTHON)' is not that." >&2; \
	  echo "Name one that is: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up .venv (once; a minute or two) ..."
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	@# uv is fast but does not read pip.conf: where only pip knows the way to an index, pip does it.
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]' || { \
	  echo "uv could not install; trying pip ..." >&2; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'; }
	@touch $@
