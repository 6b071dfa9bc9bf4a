"""The first `thane run` makes the data folder, and in it all that is needed."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from tests.support.program import Ended, thane


@pytest.fixture(scope="module")
def first(data: Path) -> Ended:
    return thane("run", "-c", "print('hello')", data=data)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_run_needs_nothing_before_it(first: Ended) -> None:
    assert (first.code, first.out) == (0, b"hello\n"), first.notes


def test_the_folder_is_its_owners_alone_and_git_ignores_it(first: Ended, data: Path) -> None:
    assert mode(data) == 0o700
    assert "*" in (data / ".gitignore").read_text().splitlines()
    loose = [p for p in data.rglob("*") if p.is_dir() and mode(p) & 0o077]
    assert not loose
    assert not [p for p in (data / "keys").rglob("*") if p.is_file() and mode(p) & 0o077]


def test_the_keys_lie_apart_from_the_store(first: Ended, data: Path) -> None:
    assert (data / "store.db").is_file()
    assert {p.name for p in (data / "keys").iterdir()} >= {"local-key", "ledger.key", "master"}
    key = (data / "keys" / "local-key").read_text().strip()
    assert key.encode() not in (data / "store.db").read_bytes()


def test_the_first_use_makes_a_tenant_with_its_project_its_owner_and_a_key(first: Ended, data: Path) -> None:
    rows = thane("timeline", "--json", data=data).json
    assert [(r["index"], r["operation"]) for r in rows[:2]] == [(0, "tenants.create"), (1, "api_keys.create")]
    assert [k["name"] for k in thane("keys", "list", "--json", data=data).json] == ["local"]


def test_one_line_says_what_it_used_and_where_it_is_recorded(first: Ended) -> None:
    line = first.notes.splitlines()[-1]
    ids = r"run_[0-9a-f]{32} exe_[0-9a-f]{32}"
    shape = rf"thane: {ids} completed \d+ ms, \d+ MB, \$0\.0*[1-9]\d*, T[0-3]-?, ledger \d+"
    assert re.fullmatch(shape, line), line


def test_the_second_run_finds_everything_as_it_was(first: Ended, data: Path) -> None:
    before = (data / "keys" / "local-key").read_text()
    second = thane("run", "-c", "print(2)", data=data)
    assert second.out == b"2\n"
    assert (data / "keys" / "local-key").read_text() == before
    assert int(second.summary[-1]) == int(first.summary[-1]) + 5


def test_the_folder_is_dot_thane_here_or_where_the_environment_says(tmp_path: Path) -> None:
    here = thane("run", "-c", "print(1)", cwd=tmp_path)
    assert (here.code, (tmp_path / ".thane" / "store.db").is_file()) == (0, True), here.notes
    other = tmp_path / "other"
    there = thane("run", "-c", "print(1)", cwd=tmp_path, env={"THANE_DATA": str(other)})
    assert (there.code, (other / "store.db").is_file()) == (0, True), there.notes
    chosen = tmp_path / "chosen"
    option = thane("run", "-c", "print(1)", data=chosen, env={"THANE_DATA": str(other)})
    assert (option.code, chosen.is_dir()) == (0, True)


def test_the_json_answer_has_exactly_the_promised_shape(first: Ended, data: Path) -> None:
    done = thane("run", "--json", "-c", "open('a.txt', 'w').write('x'); print('out')", data=data)
    answer = done.json
    assert list(answer) == [
        "id", "run_id", "status", "output", "error", "duration_ms",
        "resource_usage", "billing_info", "isolation", "ledger",
    ]  # fmt: skip
    assert set(answer["output"]) == {"stdout", "stderr", "return_code", "files"}
    assert answer["output"] == {"stdout": "out\n", "stderr": "", "return_code": 0, "files": ["a.txt"]}
    usage = answer["resource_usage"]
    assert set(usage) == {"peak_memory_mb", "cpu_time_ms", "disk_io_mb", "network_io_mb"}
    assert all(type(value) is int for value in usage.values())
    assert set(answer["billing_info"]) == {"compute_units", "cost_usd", "billing_tier"}
    assert re.fullmatch(r"0\.\d{18}", answer["billing_info"]["cost_usd"])
    assert set(answer["isolation"]) == {"tier", "limits"}
    assert set(answer["ledger"]) == {"index", "leaf_hash", "intent_index"}
    assert answer["ledger"]["index"] > answer["ledger"]["intent_index"]
    assert answer["error"] is None
    assert answer["id"] in done.summary
    assert answer["run_id"] in done.summary
    assert str(answer["ledger"]["index"]) == done.summary[-1]


def test_a_failure_has_the_error_in_its_json(first: Ended, data: Path) -> None:
    done = thane("run", "--json", "-c", "{}['missing']", data=data)
    error = done.json["error"]
    assert (done.code, done.json["status"], done.json["output"]["return_code"]) == (1, "failed", 1)
    assert set(error) == {"error_type", "message", "stack_trace"}
    assert (error["error_type"], error["message"]) == ("KeyError", "'missing'")
    assert error["stack_trace"].startswith("Traceback")


def test_the_summary_goes_to_stderr_and_the_json_to_stdout_alone(first: Ended, data: Path) -> None:
    done = thane("run", "--json", "-c", "import sys; print('err', file=sys.stderr)", data=data)
    assert json.loads(done.out)["output"]["stderr"] == "err\n"
    assert done.notes.count("\n") == 1
