"""Schemathesis against a running server: no 500, no answer that the served OpenAPI does not name.

A short run by default; `just schemathesis` digs deeper and goes from operation to operation.
Left out is one check of its own, that what fits the schema is accepted: a filter, a cursor
and a position have a grammar that JSON Schema cannot tell.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.needs import require
from tests.support.program import Served, environment
from tests.support.project import ROOT

LEFT_OUT = "positive_data_acceptance,response_schema_conformance"
# Its answer does not end: `test_the_watch…` asks for it by hand.
WATCH = "/api/v1/watch"


def found(server: Served, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """One run of the program; all that it found is in its output."""
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    require(program, "schemathesis", get="uv sync --group contract")
    assert program is not None
    return subprocess.run(
        [
            program, "run", f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {server.key}",
            "--exclude-path", WATCH, "--exclude-checks", LEFT_OUT, "--request-timeout", "60",
            "--continue-on-failure", "--no-color", *options,
        ],
        env=environment(SCHEMATHESIS_HOOKS="tests.contract.hooks", PYTHONPATH=str(ROOT), HOME=str(folder)),
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_no_answer_is_a_defect_or_unheard_of(
    tmp_path: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = pytestconfig.getoption("--examples")
    phases = "examples,coverage,fuzzing,stateful" if examples else "examples,coverage,fuzzing"
    require(importlib.util.find_spec("schemathesis"), "schemathesis", get="uv sync --group contract")
    server = Served(tmp_path / "data")
    try:
        options = ["--max-examples", str(examples or 3), "--phases", phases]
        done = found(server, tmp_path, *options, *(() if examples else ("--seed", "1")))
        with capsys.disabled():
            print("\n  " + "\n  ".join(done.stdout.strip().splitlines()[-5:]))
        assert done.returncode == 0, done.stdout + done.stderr
        assert " generated" in done.stdout
    finally:
        code = server.stop()
    log = server.log.read_text()
    assert code == 0, log
    assert '"level":"error"' not in log, log


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 422), ("entity=", 422), ("entity=none", 422), ("entity=sandboxes&filter=%00", 422),
        ("entity=sandboxes&after=x", 422), ("entity=sandboxes&after=999999999999999", 422),
        ("entity=sandboxes&fields=no", 422), ("entity=execution_chunks&parent=%F0%9F%92%A9", 404),
        ("entity=sandboxes&unknown=1", 422), ("entity=sandboxes&entity=runs", 422),
    ],
)  # fmt: skip
def test_the_watch_refuses_what_makes_no_sense_as_it_says(watched: Served, query: str, status: int) -> None:
    documented = watched.raw("GET", "/openapi.json").json["paths"][WATCH]["get"]["responses"]
    answer = watched.call("GET", f"/watch?{query}")
    assert answer.status == status
    assert answer.headers["content-type"] in documented[str(status)]["content"]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = Served(tmp_path_factory.mktemp("watched") / "data")
    yield server
    assert server.stop() == 0, server.log.read_text()
