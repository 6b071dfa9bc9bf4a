"""`thane demo`: everything it tells has happened, it catches what it must, and it leaves nothing behind."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_tables import ANSI, on_a_terminal
from tests.support.needs import require_root
from tests.support.program import PROGRAM, Ended, environment, thane
from thane.adapters.sqlite.touching import touch_hash, touch_leaf, touch_row
from thane.interfaces.cli.demo.story import _holds
from thane.interfaces.cli.tables import width_of
from thane.kernel.errors import NotFound

STEPS = [
    "program works",
    "program fails",
    "program greedy",
    "program steals",
    "bill",
    "timeline",
    "verify",
    "touched row",
    "touched entry",
    "touched hash",
]


@pytest.fixture(scope="module")
def kept(data: Path) -> tuple[Path, Any]:
    """A data folder in which the demo has played, and what it said of it."""
    done = thane("demo", "--json", data=data)
    assert done.code == 0, done.notes
    return data, done.json


def found(report: Any, name: str) -> Any:
    return next(step["found"] for step in report["steps"] if step["name"] == name)


def test_the_demo_tells_each_step_in_plain_text_and_leaves_nothing(tmp_path: Path) -> None:
    done = thane("demo", env={"TMPDIR": str(tmp_path), "THANE_DATA": str(tmp_path / "mine")})
    assert (done.code, done.notes) == (0, "")
    assert "\x1b" not in done.text
    titles = re.findall(r"^(\d+)  \S", done.text, re.MULTILINE)
    assert titles == [str(n) for n in range(1, 12)]
    assert len(re.findall(r"^   ok: ", done.text, re.MULTILINE)) == len(STEPS)
    for words in ("KeyError: 'exempt'", "OutOfMemory", "it saw no key", "Everything agrees."):
        assert words in done.text
    assert re.search(r"^10 of 10 as they must be, in \d+\.\d s\.$", done.text, re.MULTILINE)
    assert done.text.splitlines()[-1].startswith("Next: thane ")
    assert list(tmp_path.iterdir()) == []


def test_it_is_quick(kept: tuple[Path, Any]) -> None:
    assert kept[1]["seconds"] < 60


def test_the_json_has_every_step_with_what_was_found(kept: tuple[Path, Any]) -> None:
    _, report = kept
    assert ([step["name"] for step in report["steps"]], report["ok"]) == (STEPS, True)
    assert found(report, "program greedy")["error"]["error_type"] == "OutOfMemory"
    assert found(report, "program works")["output"]["stdout"].endswith("1,348.50\n")
    bill = found(report, "bill")
    assert sum(Decimal(event["amount"]) for event in bill["events"]) == Decimal(bill["total_usd"]) > 0
    assert found(report, "verify")["found"] == 0


def test_what_it_shows_is_in_the_folder_that_was_kept(kept: tuple[Path, Any]) -> None:
    data, report = kept
    rows = thane("timeline", report["run_id"], "--json", data=data).json
    assert rows == found(report, "timeline")
    assert thane("verify", data=data).code == 0
    assert sorted(p.name for p in data.parent.iterdir()) == [data.name]


def test_the_touched_copies_are_caught_by_row_by_entry_and_by_root(kept: tuple[Path, Any]) -> None:
    _, report = kept
    failed = found(report, "program fails")
    seen = {name: found(report, f"touched {name}")["report"]["problems"] for name in ("row", "entry", "hash")}
    row, entry, root = seen.values()
    index = failed["ledger"]["index"]
    assert [(p["kind"], p["index"], p["row"]) for p in row] == [("row", index, f"executions/{failed['id']}")]
    assert ("leaf_hash", index) in [(p["kind"], p["index"]) for p in entry]
    assert "root" in [p["kind"] for p in root]
    assert "leaf_hash" not in [p["kind"] for p in root]


def test_the_program_that_looks_for_keys_gets_none_though_they_are_there(kept: tuple[Path, Any]) -> None:
    data, report = kept
    printed = found(report, "program steals")["output"]["stdout"]
    key = (data / "keys" / "local-key").read_text().strip()
    assert key not in printed
    asked = [line.split(": ")[0] for line in printed.splitlines()]
    assert {"open local-key", "open ledger.key", "search of all files"} <= set(asked)


def test_a_key_in_an_answer_would_be_seen() -> None:
    secret = b"thane_0123456789abcdef0123456789abcdef\n"
    assert _holds({"stdout": "x thane_0123456789abcdef0123456789abcdef", "stderr": ""}, secret)
    assert _holds({"stdout": "", "stderr": secret.decode()}, secret)
    assert not _holds({"stdout": "open local-key: FileNotFoundError", "stderr": ""}, secret)


def test_where_nothing_isolates_the_demo_says_so_and_fails() -> None:
    done = thane("demo", env={"THANE_ISOLATION_MINIMUM_TIER": "T3"})
    if done.code == 0:
        pytest.skip("this machine has T3")
    assert done.code == 1
    assert "NOT AS EXPECTED" in done.text
    assert done.text.splitlines()[-1] == "Next: thane doctor"


def test_on_a_terminal_it_has_colours_and_fits() -> None:
    text = on_a_terminal(80, "demo")
    assert "\x1b[32m" in text
    lines = ANSI.sub("", text).splitlines()
    assert [line for line in lines if width_of(line) > 80 and "Data folder" not in line] == []


def test_nothing_is_touched_that_is_not_as_expected(kept: tuple[Path, Any], tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    store.write_bytes((kept[0] / "store.db").read_bytes())
    tenant = json.loads(thane("timeline", "--json", "--limit", "10000", data=kept[0]).out)[0]["resource"]
    with pytest.raises(NotFound):
        touch_row(store, "executions", "exe_none", "status", "completed")
    with pytest.raises(NotFound):
        touch_leaf(store, tenant, 0, '"outcome":"failed"', "x")
    with pytest.raises(NotFound):
        touch_hash(store, tenant, 10_000)
    with pytest.raises(NotFound):
        touch_leaf(store, "tnt_none", 0, "a", "b")


def test_it_plays_for_a_user_without_rights() -> None:
    require_root()
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    base = str(getattr(sys, "_base_executable", sys.executable))
    if subprocess.run([*as_nobody, "test", "-x", base], check=False).returncode:
        pytest.skip("needs an interpreter that another user may run")
    with tempfile.TemporaryDirectory(prefix="nobody-") as home:
        Path(home).chmod(0o777)
        env = {k: v for k, v in environment(HOME=home, TMPDIR=home).items() if "COVERAGE" not in k}
        command = [*as_nobody, *PROGRAM, "demo", "--json"]
        done = subprocess.run(command, env=env, cwd=home, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Ended(done.returncode, done.stdout, done.stderr).json["ok"]
