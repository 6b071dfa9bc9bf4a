# Tasks for people who change Thane. `uv run just` lists them.

_list:
    @just --list --unsorted

# install all groups and the local git hooks
setup:
    uv sync --all-groups --locked
    git config core.hooksPath .githooks

# run the tests (arguments go to pytest)
test *arguments:
    uv run pytest {{ arguments }}

# style and import rules
lint:
    uv run ruff check .
    uv run ruff format --check .
    uv run lint-imports --no-logo

# format and repair what can be repaired
fmt:
    uv run ruff check --fix .
    uv run ruff format .

# types
types:
    uv run mypy

# all that must hold before a change lands
ci:
    bash .ci/run

# tests with a coverage report, also as htmlcov/
coverage *arguments:
    uv run pytest --cov --cov-report=term --cov-report=html {{ arguments }}

# the README's two commands on a fresh Debian 12 (as root; --help lists options)
fresh *options:
    python3 tests/fresh/fresh.py {{ options }}

# bring up to date what is made from the registry: the Python client and docs/reference
sdk:
    uv run python -m tools.sdk
    uv run python -m tools.reference

# kill a loaded server at seeded moments
crash crashes="200":
    uv run pytest tests/crash --crashes {{ crashes }}

# everything that must hold on each registered store engine
all-engines:
    uv run pytest -m every_engine

# how fast a store with a million executions answers, appends and is verified
bench-store *options:
    uv run --no-sync python -m benchmarks.store {{ options }}
