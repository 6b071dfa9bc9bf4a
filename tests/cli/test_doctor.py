"""`thane doctor` as people and scripts call it: everything is looked at, whatever else is broken."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import PATIENCE, PROGRAM, Ended, Served, environment, thane

AREAS = ["settings", "isolation", "engine", "data folder", "disk", "clock", "limits", "ports", "versions"]
NO_PORT = {"THANE_HTTP_PORT": "0"}  # others may listen on the usual one


@pytest.fixture(scope="module")
def used(data: Path) -> Path:
    assert thane("run", "-c", "print(1)", data=data).code == 0
    return data


def wrong(report: Any, grade: str = "failure") -> dict[str, Any]:
    return {f"{f['area']}, {f['check']}": f for f in report["findings"] if f["grade"] == grade}


def test_all_is_looked_at_and_nothing_is_made(tmp_path: Path) -> None:
    done = thane("doctor", "--json", data=tmp_path / "none", env=NO_PORT)
    found = done.json
    assert (done.code, found["ok"], wrong(found)) == (0, True, {})
    assert list(dict.fromkeys(f["area"] for f in found["findings"])) == AREAS
    assert [t["tier"] for t in found["isolation"] if t["available"]]
    assert list(tmp_path.iterdir()) == []


def test_a_used_folder_is_sound_alone_and_beside_its_server(used: Path) -> None:
    assert wrong(thane("doctor", "--json", data=used, env=NO_PORT).json) == {}
    server = Served(used)
    try:
        done = thane("doctor", "--json", data=used, env={"THANE_HTTP_PORT": str(server.port)})
        assert (done.code, wrong(done.json)) == (0, {})
        port = next(f for f in done.json["findings"] if f["area"] == "ports")
        assert f"process {server.process.pid}" in port["detail"]
        assert server.call("GET", "/health").status == 200
    finally:
        server.stop()


def test_what_is_to_mend_is_told_last_with_its_command(used: Path) -> None:
    strict = thane("doctor", data=used, env={**NO_PORT, "THANE_ISOLATION_MINIMUM_TIER": "T3"})
    if strict.code == 0:
        pytest.skip("this machine has T3")
    assert strict.code == 1
    lines = strict.text.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("failure: isolation, tier: "))
    assert "isolation.minimum_tier" in lines[at]
    assert lines[at + 1].startswith("  ")
    assert lines[-1].endswith("to mend before Thane can work here as the settings want it.")


def test_wrong_settings_do_not_keep_it_from_looking_at_the_rest(used: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[http]\nprot = 1\n[database]\nurl = "postgresql://x/y"\n')
    done = thane("doctor", "--json", "--config", file, data=used)
    assert done.code == 1
    assert "settings, values" in wrong(done.json)
    assert {f["area"] for f in done.json["findings"]} == set(AREAS)
    idle = thane("doctor", "--json", data=used, env={**NO_PORT, "THANE_REDIS_URL": "redis://x"})
    assert (idle.code, "settings, redis.url" in wrong(idle.json, "warning")) == (0, True)


def test_a_damaged_store_and_open_keys_are_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    assert thane("run", "-c", "print(1)", data=data).code == 0
    (data / "store.db").write_bytes(b"no store at all" * 1000)
    (data / "keys" / "ledger.key").chmod(0o644)
    done = thane("doctor", "--json", data=data, env=NO_PORT)
    assert done.code == 1
    assert {"engine, store", "data folder, modes"} <= set(wrong(done.json))
    for finding in wrong(done.json).values():
        assert finding["remedy"]


def test_a_low_limit_is_told(used: Path) -> None:
    given = [*PROGRAM, "doctor", "--json", "--data", str(used)]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -n 2048; exec "$@"', "bash", *given],
        env=environment(**NO_PORT),
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )
    ended = Ended(done.returncode, done.stdout, done.stderr)
    assert (ended.code, "limits, open files" in wrong(ended.json, "warning")) == (0, True), ended.notes


def test_where_no_isolation_can_be_started_the_rest_is_told(tmp_path: Path) -> None:
    env = {**NO_PORT, "THANE_ISOLATION_SOCKET": "/proc/none/isolation.sock"}
    done = thane("doctor", "--json", data=tmp_path / "data", env=env)
    assert (done.code, "isolation, program" in wrong(done.json), done.json["isolation"]) == (1, True, [])
