"""The quiet end: a stop under load, and one owner of a data folder, whoever comes and goes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.crash.agreement import Snapshot, problems, shown
from tests.crash.load import BROKEN, Answer
from tests.crash.processes import (
    WAITS,
    Background,
    Processes,
    Server,
    begun,
    let_go,
    lines_of,
    thane,
    wait_for,
    workspace_of,
)
from tests.isolation.jailing import is_alive

pytestmark = pytest.mark.crash


# -- stopping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_stop_under_load_answers_all_that_was_begun_and_signs_it(
    number: signal.Signals, processes: Processes, data: Path, tmp_path: Path
) -> None:
    server = processes.serve(data).ready()
    load = processes.load(server, tmp_path / "journal", "stop", workers=8)
    wait_for(lambda: load.answered() >= 25, "the load is at work")
    os.kill(server.pid, number)
    assert server.process.wait(40) == 0, server.log
    load.wait()

    lines = lines_of(tmp_path / "journal")
    answered = [line for line in lines if line["event"] == "answered"]
    assert not [line for line in answered if line["status"] >= 500], "nobody was sent away with a failure"
    found = problems(data, lines)
    assert not found, shown(found)
    told = {line["mark"] for line in answered}
    assert _marks(Snapshot(data)) <= told, "whatever was done was answered"
    statuses = {row["status"] for row in Snapshot(data).tables["executions"]}
    assert statuses <= {"completed", "failed"}, "what was begun was let end"
    _is_left_signed_and_closed(server)


def test_what_does_not_end_within_the_drain_time_is_cancelled_and_settled(
    processes: Processes, data: Path
) -> None:
    server = processes.serve(data, http_drain_timeout_secs="1").ready()
    running = _begin(server, "endless")
    begun(data, "endless")
    assert server.stop() == 0, server.log
    assert "Traceback" not in server.log, server.log
    (row,) = Snapshot(data).tables["executions"]
    assert row["status"] == "cancelled"
    answer = running.result()
    assert answer is not None
    assert answer.body["status"] == "cancelled", answer
    assert answer.body["ledger"]["index"] is not None
    found = problems(data)
    assert not found, shown(found)
    _is_left_signed_and_closed(server)


def test_an_execution_that_ends_within_the_drain_time_is_answered_after_the_stop_was_asked_for(
    processes: Processes, data: Path
) -> None:
    server = processes.serve(data).ready()
    running = _begin(server, "late")
    place = begun(data, "late")
    server.terminate()
    wait_for(lambda: not _accepts(server), "it takes no more")
    let_go(place)
    answer = running.result()
    assert answer is not None
    assert (answer.status, answer.body["status"]) == (201, "completed"), answer
    assert answer.body["ledger"]["index"] is not None
    assert server.process.wait(20) == 0, server.log
    _is_left_signed_and_closed(server)


# -- one owner ------------------------------------------------------------------------------------


def test_a_second_server_on_the_folder_is_told_whose_it_is(processes: Processes, data: Path) -> None:
    server = processes.serve(data).ready()
    ended = thane("serve", "--port", "0", "--data", data)
    assert ended.returncode not in (0, 1), ended
    assert f"process {server.pid}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "--data" in ended.stderr
    assert server.api().call("GET", "/me").status == 200, "the first one goes on"
    assert server.stop() == 0


def test_a_command_goes_through_the_server_that_owns_the_folder(processes: Processes, data: Path) -> None:
    server = processes.serve(data).ready()
    ended = thane("run", "-c", "print('through')", "--json", "--data", data)
    assert ended.returncode == 0, ended
    told = json.loads(ended.stdout)
    assert told["output"]["stdout"] == "through\n"
    same = server.api().call("GET", f"/executions/{told['id']}")
    assert same.status == 200
    assert told["output"].items() <= same.body["output"].items()
    assert _owner(data) == server.pid
    assert server.stop() == 0
    found = problems(data)
    assert not found, shown(found)


def test_a_dead_owner_is_followed_by_whoever_comes(processes: Processes, data: Path) -> None:
    server = processes.serve(data).ready()
    server.kill()
    assert (data / "thane.sock").exists(), "the dead leave their socket"
    assert str(server.pid) in (data / "owner.lock").read_text()
    ended = thane("run", "-c", "print('after')", "--data", data)
    assert (ended.returncode, ended.stdout) == (0, "after\n"), ended
    again = processes.serve(data).ready()
    again.kill()
    third = processes.serve(data).ready()
    assert third.api().call("GET", "/me").status == 200
    assert third.stop() == 0


def test_a_command_that_owns_the_folder_finishes_what_others_began_before_it_ends(
    processes: Processes, data: Path
) -> None:
    owner = processes.start("run", "-c", WAITS.format(name="owner"), data=data)
    owners_place = begun(data, "owner")
    guest = processes.start("run", "-c", WAITS.format(name="guest"), data=data)
    guests_place = begun(data, "guest")
    assert _owner(data) == owner.pid

    let_go(owners_place)
    wait_for(lambda: workspace_of(data, "owner") is None, "the owner's own program has ended")
    assert owner.poll() is None
    let_go(guests_place)

    told, _ = guest.communicate(timeout=30)
    assert guest.returncode == 0
    assert told == "guest began\nguest went on\n"
    told, _ = owner.communicate(timeout=30)
    assert (owner.returncode, told) == (0, "owner began\nowner went on\n")
    assert not (data / "thane.sock").exists()
    found = problems(data)
    assert not found, shown(found)


def test_many_commands_at_once_on_a_new_folder_all_succeed(processes: Processes, data: Path) -> None:
    count = 5
    started = [processes.start("run", "-c", f"print({n})", data=data) for n in range(count)]
    for n, command in enumerate(started):
        out, err = command.communicate(timeout=60)
        assert (command.returncode, out) == (0, f"{n}\n"), err
    assert len(Snapshot(data).tables["executions"]) == count
    found = problems(data)
    assert not found, shown(found)


# -- parts ----------------------------------------------------------------------------------------


def _begin(server: Server, name: str) -> Background[Answer | None]:
    """A program that waits, asked for in the background; None if the answer never came."""
    api = server.api()
    sandbox = api.call("POST", "/sandboxes", {}).body["id"]

    def ask() -> Answer | None:
        try:
            return api.call("POST", f"/sandboxes/{sandbox}/executions", {"code": WAITS.format(name=name)})
        except BROKEN:
            return None

    return Background(ask)


def _accepts(server: Server) -> bool:
    try:
        return bool(server.api(timeout=2).call("GET", "/me").status)
    except OSError:
        return False


def _is_left_signed_and_closed(server: Server) -> None:
    """Nothing of the owner is left, and a checkpoint is over the last entry of each tree."""
    data = server.data
    assert not (data / "thane.sock").exists()
    assert (data / "owner.lock").read_bytes() == b""
    assert not is_alive(server.pid)
    assert not list((data / "spool").iterdir())
    connection = sqlite3.connect(f"{(data / 'store.db').as_uri()}?mode=ro", uri=True)
    try:
        rows = connection.execute(
            "SELECT l.tenant_id, (SELECT count(*) FROM thane_entries e WHERE e.id >> 40 = l.number), "
            "(SELECT max(size) FROM thane_checkpoints c WHERE c.log = l.number) FROM thane_logs l"
        ).fetchall()
    finally:
        connection.close()
    assert rows
    unsigned = [row for row in rows if row[1] != row[2]]
    assert not unsigned, f"(log, entries, signed): {unsigned}"


def _marks(snapshot: Snapshot) -> set[str]:
    """The load's marks on what is in the store."""
    found = {row["purpose"] for row in snapshot.tables["runs"]}
    found |= {row["name"] for row in snapshot.tables["sandboxes"]}
    for row in snapshot.tables["executions"]:
        start = row["code"].index("mstop-")
        found.add(row["code"][start:].split("'")[0].split(" ")[0].split("\n")[0])
    return found


def _owner(data: Path) -> int:
    return int(json.loads((data / "owner.lock").read_text())["pid"])
