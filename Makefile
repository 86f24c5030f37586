# Each target is one line that also works typed by hand; README.md has the PowerShell equivalents.
VENV ?= .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.installed

.PHONY: run demo dashboard screenshots test check coverage bench torture simulate lock clean setup

setup: $(STAMP)

$(STAMP): requirements-dev.lock pyproject.toml
	@python=""; for p in python3.12 python3.13 python3.14 python3 python; do \
	  if $$p -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then python=$$p; break; fi; done; \
	if [ -z "$$python" ]; then \
	  echo "No Python 3.12 or newer was found on this machine. Install one (https://www.python.org/downloads/), then run make again." >&2; exit 1; fi; \
	if [ ! -x $(PY) ] || ! $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then \
	  $$python -m venv --clear $(VENV) || { echo "Python was found, but its venv module does not work (on Debian: apt install python3-venv)." >&2; exit 1; }; fi
	@echo "Installing the pinned dependencies into $(VENV) ..."
	@$(PY) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

run: $(STAMP)
	@$(PY) -m risk_manager run

demo: $(STAMP)
	@$(PY) -m risk_manager demo

dashboard: $(STAMP)
	@$(PY) -m risk_manager dashboard

# The pictures in docs/pictures, drawn from fixed trading days: the same on every machine.
screenshots: $(STAMP)
	@$(PY) tests/screens --docs

test: $(STAMP)
	@$(PY) -m pytest -n auto --dist loadfile

check: $(STAMP)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(PY) -m pytest -q tests/test_layering.py

# Of the judgement alone, by its own tests; the floor stands in pyproject.toml.
coverage: $(STAMP)
	@$(PY) -m pytest -q -n auto --dist loadfile --cov --cov-report=term tests/domain tests/engine tests/rules $(ARGS)

# Long: kills, power loss, disk faults, simulated days. MINUTES=50 for all of it, WRITE=docs/reliability.md to note it.
torture: $(STAMP)
	@$(PY) tests/torture --minutes $(or $(MINUTES),10) $(if $(WRITE),--write $(WRITE))

# One simulated day, the same for the same seed. DAYS=200 HOURS=8.75 for many whole ones.
simulate: $(STAMP)
	@$(PY) tests/simulation --verbose --seed $(or $(SEED),1) --days $(or $(DAYS),1) --hours $(or $(HOURS),4) --jobs $(or $(JOBS),1) $(ARGS)

# About an hour, on a machine with nothing else to do. ARGS="--quick" for a first impression,
# ARGS="whole_fills bursts" for some of it, WRITE=docs/performance.md to note it.
bench: $(STAMP)
	@$(PY) tests/bench $(if $(WRITE),--write $(WRITE)) $(ARGS)

lock: $(STAMP)
	@$(PY) -m pip install --quiet "uv==0.13.8"
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.12 pyproject.toml --group dev -o requirements-dev.lock
	@$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-annotate --python-version 3.12 -c requirements-dev.lock pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
