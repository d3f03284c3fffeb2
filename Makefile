# make demo    see it work on this machine, without Census; PORT=8030 serves the page there,
#              STORE=elasticsearch keeps it in one that runs already, at http://127.0.0.1:9200 or where STORE=http://... says
# make test    everything that can be checked; PYTEST_ARGS='-k coverage' makes it a part
# make bench   how fast it is
# make fuzz    inputs that nobody would send on purpose, for SECONDS=120
# make torture every fault and 200 kills, and what is lost; TORTURE_ARGS='--only reset --seed 7' makes it a part
# make screenshots  a picture of every view of the page, in screenshots/, and README's in docs/
# make dashboards  monitoring/grafana anew, from monitoring/*.py
# make venv    .venv with the pinned dependencies, which the others make by themselves
# make clean   remove all of it again

.DELETE_ON_ERROR:
.PHONY: venv test demo bench fuzz torture screenshots dashboards clean

VENV := .venv
STAMP := $(VENV)/installed
BIN := $(VENV)/bin
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
# One more than the two cores of a small machine, since many tests wait for servers; a file to one of them, which fills its stores once. The files of
# acceptance come first, as they are collected: they have few tests, and the longest.
PYTEST_ARGS ?= -n 3 --dist loadfile --no-loadscope-reorder
PORT ?= 8020
STORE ?= sqlite
SECONDS ?= 120

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; install one, or say which: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "make: $(PYTHON) is no Python 3.11 or newer" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
		|| { rm -rf $(VENV); echo "make: $(PYTHON) can't make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV), which takes about a minute."
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,charts]'
	@touch $@

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(PYTEST_ARGS)

demo: $(STAMP)
	@exec $(BIN)/ps2daemon demo --port $(PORT) --store $(STORE)

bench: $(STAMP)
	$(BIN)/python -m bench

fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

torture: $(STAMP)
	$(BIN)/python -m bench torture $(TORTURE_ARGS)

screenshots: $(STAMP)
	$(BIN)/python -m tests.screenshots screenshots

dashboards: $(STAMP)
	$(BIN)/python -m monitoring.dashboards

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist demo screenshots soak
	find ps2daemon tests bench monitoring -name __pycache__ -type d -prune -exec rm -rf {} +
