#!/bin/bash
# Every hostile program on every tier that this machine has: as root, as an ordinary user, and as both
# where the kernel refuses namespaces. What came of it is written into docs/isolation.md, also if
# something failed. `just hostile` runs it; arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

results=$(mktemp)
trap 'rm -f "$results"' EXIT
code=0
THANE_TEST_HOSTILE_FULL=1 HOSTILE_RESULTS=$results uv run --no-sync pytest tests/hostile \
    --deselect tests/hostile/test_report.py::test_the_documentation_is_up_to_date_with_the_table "$@" || code=$?
uv run --no-sync python -m tests.hostile.report docs/isolation.md --results "$results"
exit "$code"
