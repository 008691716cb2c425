# Everything is made from here: on a fresh machine with Python 3.11 and make, `make demo` or `make test`.

PYTHON ?= python3.11
BIN := .venv/bin
LOCKED := .venv/locked

.PHONY: demo test test-long check bench docs format lock clean

demo: $(LOCKED)
	@$(BIN)/python examples/demo.py

test: check
	@$(BIN)/python -m pytest -m "not long" --numprocesses 3 --dist worksteal

test-long: $(LOCKED)
	@$(BIN)/python -m pytest -m long --timeout 3600

check: $(LOCKED)
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(LOCKED)
	@$(BIN)/python -m benchmarks

# Writes the pages of the reference that follow from the code.
docs: $(LOCKED)
	@$(BIN)/python -m observatory.cli.reference > docs/reference/cli.md

format: $(LOCKED)
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

# Installs what the lock says, by version and hash. uv is itself locked; it only makes this quicker than pip.
$(LOCKED): requirements.lock pyproject.toml
	@echo "setting up .venv (about a minute the first time)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv 2>/dev/null || python3 -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.uv.lock
	@$(BIN)/uv pip sync --quiet --require-hashes requirements.lock --python $(BIN)/python
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable . --python $(BIN)/python
	@touch $(LOCKED)

lock:
	@uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 \
		--generate-hashes --no-header --quiet -o requirements.lock

clean:
	@rm -rf .venv .work .mypy_cache .ruff_cache .pytest_cache .hypothesis
