"""Start-up imports what the command uses, and not more: a person waits for every import."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.program import PROGRAM, environment, thane

# Prints the modules that are loaded when the command ends.
PROBE = """
import json, sys
from thane.__main__ import main
sys.argv = ["thane", *sys.argv[1:]]
try:
    main()
except SystemExit as end:
    code = end.code
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""
SERVING = ("uvicorn", "httptools", "uvloop", "prometheus_client")
HEAVY = (*SERVING, "apsw", "cryptography", "asyncio", "msgspec")


@pytest.fixture(scope="module")
def used(data: Path) -> Path:
    assert thane("run", "-c", "print(1)", data=data).code == 0
    return data


def modules(*arguments: str | Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    code, names = json.loads(done.stderr.splitlines()[-1])
    assert code in (0, None), done.stderr
    return set(names)


@pytest.mark.parametrize("arguments", [("--help",), ("keys", "--help"), ("--version",)])
def test_help_needs_none_of_the_program(arguments: tuple[str, ...]) -> None:
    loaded = modules(*arguments)
    unwanted = HEAVY if arguments == ("--help",) else ("uvicorn", "apsw", "cryptography", "prometheus_client")
    assert not [name for name in unwanted if name in loaded]


def test_a_run_imports_no_server_no_metrics_and_no_schema_tool(used: Path) -> None:
    loaded = modules("run", "--data", used, "-c", "print(1)")
    assert not [name for name in (*SERVING, "sqlalchemy", "alembic", "starlette", "rich") if name in loaded]


@pytest.mark.parametrize("arguments", [("timeline",), ("keys", "list"), ("doctor",), ("config", "check")])
def test_commands_import_no_server(used: Path, arguments: tuple[str, ...]) -> None:
    folder = () if arguments[0] == "config" else ("--data", used)
    loaded = modules(*arguments, *folder)
    assert not [name for name in SERVING if name in loaded]


def test_a_run_on_a_folder_that_exists_is_quick(used: Path, capsys: pytest.CaptureFixture[str]) -> None:
    took = []
    for _ in range(5):
        start = time.perf_counter()
        done = subprocess.run(
            [*PROGRAM, "run", "--data", str(used), "-c", "print(1)"],
            env=environment(),
            check=False,
            capture_output=True,
        )
        assert done.returncode == 0, done.stderr
        took.append(time.perf_counter() - start)
    with capsys.disabled():
        print(f"\nthane run -c 'print(1)', whole process: {' '.join(f'{t:.2f}' for t in sorted(took))} s")
    # Printed for people; the bound is so wide that only a mistake meets it, not a busy machine.
    assert min(took) < 60
