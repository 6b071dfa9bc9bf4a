"""The other commands: keys, timeline, config check, operations, doctor, help."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest

from tests.support.program import Served, thane
from thane.interfaces.cli.main import COMMANDS


@pytest.fixture(scope="module")
def used(data: Path) -> Path:
    """A data folder in which one program ran."""
    assert thane("run", "-c", "print(1)", data=data).code == 0
    return data


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(used: Path) -> None:
    made = thane("keys", "create", "laptop", "--scope", "sandboxes.list", "--json", data=used).json
    assert set(made) == {"id", "name", "prefix", "key", "scopes", "expires_at", "created_at"}
    listed = thane("keys", "list", "--json", data=used)
    row = next(k for k in listed.json if k["id"] == made["id"])
    assert (row["name"], row["scopes"], row["revoked_at"]) == ("laptop", ["sandboxes.list"], None)
    assert made["key"] not in listed.text
    assert made["key"].startswith(made["prefix"])
    revoked = thane("keys", "revoke", made["id"], "--json", data=used).json
    assert (revoked["id"], revoked["revoked_at"] is None) == (made["id"], False)
    table = thane("keys", "list", data=used).text
    assert [line.split()[3] for line in table.splitlines() if made["id"] in line] == ["revoked"]


def test_a_key_for_people_is_the_only_thing_on_stdout(used: Path) -> None:
    made = thane("keys", "create", "script", data=used)
    assert made.text.strip().startswith("thane_")
    assert made.text.count("\n") == 1
    assert "shown once" in made.notes
    assert "is revoked" in thane("keys", "revoke", made.notes.split()[0], data=used).notes


def test_a_key_opens_until_it_is_revoked_also_while_the_server_runs(used: Path) -> None:
    server = Served(used)
    try:
        made = thane("keys", "create", "phone", "--json", data=used).json
        assert server.call("GET", "/me", key=made["key"]).status == 200
        assert thane("keys", "revoke", made["id"], data=used).code == 0
        refused = server.call("GET", "/me", key=made["key"])
        assert (refused.status, "revoked" in refused.json["detail"]) == (401, True)
    finally:
        assert server.stop() == 0


def test_an_unknown_key_is_told_with_the_next_step(used: Path) -> None:
    done = thane("keys", "revoke", "key_00000000000070008000000000000000", data=used)
    assert done.code == 2
    assert "thane keys list" in done.notes


def test_the_timeline_shows_intents_and_outcomes_with_their_indexes(used: Path) -> None:
    done = thane("run", "-c", "print(1)", data=used)
    run, execution, index = done.summary[0], done.summary[1], int(done.summary[-1])
    rows = thane("timeline", run, "--json", data=used).json
    assert [r["index"] for r in rows] == [index - 3, index - 2, index - 1, index, index + 1]
    assert [r["kind"] for r in rows] == ["record", "record", "intent", "outcome", "record"]
    assert (rows[3]["intent"], rows[3]["resource"]) == (index - 1, execution)
    table = thane("timeline", run, data=used).text.splitlines()
    assert table[0].split()[0] == "INDEX"
    assert len(table) == 6
    newest = thane("timeline", "--limit", "3", "--json", data=used).json
    assert [r["index"] for r in newest] == [index - 1, index, index + 1]


def test_a_run_that_nobody_knows_is_an_error(used: Path) -> None:
    done = thane("timeline", "run_00000000000070008000000000000000", data=used)
    assert (done.code, "thane timeline" in done.notes) == (2, True)


def test_config_check_says_where_each_value_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[http]\nport = 9000\n[security]\njwt_secret = "do not show"\n')
    env = {"THANE_LOG_LEVEL": "debug"}
    rows = {r["key"]: r for r in thane("config", "check", "--config", file, "--json", env=env).json}
    assert (rows["http.port"]["value"], "mine.toml" in rows["http.port"]["origin"]) == (9000, True)
    assert (rows["log.level"]["value"], "THANE_LOG_LEVEL" in rows["log.level"]["origin"]) == ("debug", True)
    assert rows["http.host"]["origin"] == "default"
    table = thane("config", "check", "--config", file)
    assert "do not show" not in table.text + json.dumps(rows)
    assert "Port to listen on" in table.text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[http]\nprot = 1\n", "did you mean http.port"),
        ("[http]\nport = 'many'\n", "http.port"),
        ("[http]\nport = 99999\n", "65535"),
        ("[htpt]\nport = 1\n", "htpt"),
        ("[database]\npassword = 'x'\n", "database.url"),
        ("not toml", "mine.toml"),
    ],
)
def test_config_check_names_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    done = thane("config", "check", "--config", file)
    assert done.code == 2, done.notes
    assert told in done.notes
    assert "Traceback" not in done.notes


def test_settings_that_are_not_there_are_told(tmp_path: Path) -> None:
    done = thane("config", "check", "--config", tmp_path / "none.toml")
    assert (done.code, "none.toml" in done.notes) == (2, True)


def test_the_operations_are_listed() -> None:
    rows = thane("operations", "--json").json
    names = [r["name"] for r in rows]
    assert names == sorted(names)
    assert {"sandboxes.execute", "runs.create", "users.current"} <= set(names)
    execute = next(r for r in rows if r["name"] == "sandboxes.execute")
    assert execute["http"] == "POST /api/v1/sandboxes/{sandbox_id}/executions"
    assert execute["effect"] == "outside"
    assert "sandboxes.execute" in thane("operations").text


@pytest.mark.parametrize(
    "command", [(), *((name,) for name in COMMANDS), ("keys", "create"), ("config", "check")]
)
def test_each_command_explains_itself(command: tuple[str, ...]) -> None:
    done = thane(*command, "--help")
    assert done.code == 0
    assert done.text.startswith("Usage: thane")
    if not command:
        assert not [name for name in COMMANDS if name not in done.text]


def test_the_version_is_told() -> None:
    assert thane("--version").text.startswith("thane, version 0.")


def test_the_servers_first_words_are_enough_to_go_on(tmp_path: Path) -> None:
    server = Served(tmp_path / "data")
    try:
        said = server.log.read_text()
        assert f"http://127.0.0.1:{server.port}" in said
        assert str(tmp_path / "data") in said
        assert re.search(r"isolation  T(2-?|1) ", said), "what jobs get that demand nothing"
        link = next(line for line in said.splitlines() if "/api/v1/setup/" in line).split()[5]
        with urllib.request.urlopen(urllib.request.Request(link, method="POST")) as answer:
            key = json.load(answer)["key"]
        assert server.call("GET", "/me", key=key).json["role"] == "admin"
        curl = next(line for line in said.splitlines() if line.startswith("  try"))
        assert f"{server.url}/api/v1/me" in curl
        assert Path(curl.split("cat ")[1].split(")")[0]).exists()
    finally:
        assert server.stop() == 0
