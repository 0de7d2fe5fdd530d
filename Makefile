# Shortcuts: every command here also works by hand. `make help` lists them.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
N      ?= 200

.PHONY: help demo up consumer producer report down test test-unit test-thorough lint test-slow crash fuzz guards restarts proof bench clean
.DEFAULT_GOAL := help
# If it is set, Python compiles every module again at each start.
unexport PYTHONDONTWRITEBYTECODE

help:            ## show this list
	@sed -n 's/^\([a-z-]*\): .*## /  make \1\t/p' Makefile

demo: $(READY)   ## run the whole pipeline once on temporary servers
	@$(BIN)/python -m clickstream demo

up: $(READY)     ## start local servers that keep running, for the four commands below
	@$(BIN)/python -m clickstream stack up

consumer: $(READY) ## store and index events until Ctrl-C; in a terminal of its own
	@$(BIN)/python consumer.py

producer: $(READY) ## send simulated visitor traffic until Ctrl-C; in a terminal of its own
	@$(BIN)/python producer.py

report: $(READY) ## print the report
	@$(BIN)/python summary.py

down: $(READY)   ## stop the local servers
	@$(BIN)/python -m clickstream stack down

test: $(READY)   ## run all tests on temporary servers
	@$(BIN)/pytest -n auto

test-unit: $(READY) ## run the tests that need no servers
	@$(BIN)/pytest -n logical tests/unit

test-thorough: $(READY) ## run all tests with more random examples, those of search on two servers
	@TEST_BOTH_SEARCH_SERVERS=1 $(BIN)/pytest -n auto --hypothesis-profile thorough

test-slow: $(READY) ## run the tests that wait for a long time
	@$(BIN)/pytest -n auto -m slow

lint: $(READY)   ## check style, types and imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/oxlint clickstream/collector tests

crash: $(READY)  ## run N (200) random histories of crashes; SEED=S repeats some
	@$(BIN)/python -m tests.crash $(N) $(if $(SEED),--seed $(SEED))

fuzz: $(READY)   ## parse N (1000000) random records; SECONDS=S: as many as fit; SEED=S repeats some
	@$(BIN)/python -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS),$(if $(filter file,$(origin N)),,$(N))) \
	  $(if $(SEED),--seed $(SEED))

guards: $(READY) ## remove one safeguard after another; a named test must fail each time
	@$(BIN)/python -m tests.guards

restarts: $(READY) ## restart the local servers ten times beside a running pipeline
	@RESTARTS=10 $(BIN)/pytest tests/services/test_first_minutes.py -k restarts

# Everything that takes too long for each change; a new proof is one more target here.
proof: test-thorough test-slow guards restarts crash fuzz ## run what is too long for `make test`

bench: $(READY)  ## measure consumers beside Flink SQL and PostgreSQL alone (25 minutes)
	@$(BIN)/python -m bench.comparison

clean:           ## remove the virtual environment and caches (not the data of `stack up`)
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The virtual environment; its packages are installed again when the requirements change.
$(READY): requirements.txt requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed; this is %d.%d: make PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
