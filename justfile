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

# the HTTP service against PocketBase, in one run (needs wrk: apt-get install wrk)
bench-service *options:
    uv run --group peers python -m benchmarks.service {{ options }}

# what each stage of a request costs, in microseconds of CPU
profile *options:
    uv run python -m benchmarks.stages {{ options }}

# kill a loaded server at seeded moments
crash crashes="200":
    uv run pytest tests/crash --crashes {{ crashes }}

# all hostile programs on all tiers, as root and as a user (needs root), and their figures into the docs
hostile *arguments:
    bash tests/hostile/all.sh {{ arguments }}

# everything that must hold on each registered store engine
all-engines:
    uv run pytest -m every_engine

# schemathesis against a running server, with so many examples per operation
schemathesis examples="200":
    uv run --group contract pytest tests/contract --examples {{ examples }}

# the edge against crowds of clients
crowds connections="10000":
    uv run pytest tests/edge/test_crowds.py --crowd {{ connections }}

# commit to client with a thousand watchers that want the same event, beside busy writers
live *options:
    uv run python benchmarks/live.py {{ options }}

# the isolation tests on a Debian kernel in qemu that has control groups version 2 only (--as root|user)
vm *arguments:
    python3 tests/vm/vm.py {{ arguments }}

# 10 000 executions and 200 sandboxes on each tier leave nothing behind; figures are printed
soak *arguments:
    uv run pytest tests/isolation/test_soak.py --soak -s -o faulthandler_timeout=0 {{ arguments }}

# the isolation port beside plain Python, bwrap, nsjail and runsc
bench-isolation *options:
    uv run --no-sync python benchmarks/isolation.py {{ options }}

# how fast a store with a million executions answers, appends and is verified
bench-store *options:
    uv run --no-sync python -m benchmarks.store {{ options }}
