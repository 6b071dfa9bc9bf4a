"""A full disk: before prepare, between act and settle, and with a spool that is full too.

A program that waits for a file holds `act` open; the test makes that file in the jail's
workspace once the disk is as full as it wants it. So no moment is left to chance.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.crash.agreement import Snapshot, problems, settled, shown
from tests.crash.disks import Filler, small_disk
from tests.crash.load import Answer, Api
from tests.crash.processes import WAITS, Background, Processes, Server, begun, let_go, thane, wait_for
from thane.adapters.disk import DataFolder

COMMANDS = [("run", "-c", "print(1)"), ("serve", "--port", "0")]

pytestmark = [pytest.mark.crash, pytest.mark.needs_root]


@pytest.fixture
def disk(tmp_path: Path, processes: Processes) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "24m") as made:
        yield made
        processes.end()  # before its disk is taken from under it


@pytest.fixture
def server(disk: Path, processes: Processes) -> Server:
    return processes.serve(disk / "data").ready()


def test_a_disk_that_is_full_before_prepare_refuses_clearly_and_nothing_is_done(
    server: Server, disk: Path
) -> None:
    api, filler = server.api(), Filler(disk)
    sandbox = _sandbox(api)
    done = api.call("POST", f"/sandboxes/{sandbox}/executions", {"code": "print(1)"})
    assert done.body["status"] == "completed"
    _fill_the_store(api, filler)
    before = Snapshot(server.data)

    refused = api.call(
        "POST", f"/sandboxes/{sandbox}/executions", {"code": "print(2)"}, {"Idempotency-Key": "k"}
    )

    assert (refused.status, refused.body["code"]) == (507, "storage_full"), refused
    assert "nothing was written" in refused.body["detail"]
    assert "Free space" in refused.body["hint"]
    after = Snapshot(server.data)
    assert after.leaves == before.leaves, "no intent, so nothing was begun"
    assert after.by_id["executions"] == before.by_id["executions"]
    assert after.by_id["idempotency"] == before.by_id["idempotency"]
    assert not list((server.data / "spool").iterdir())
    assert api.call("GET", f"/sandboxes/{sandbox}").status == 200, "reading goes on"
    health = api.call("GET", "/me")
    assert health.status == 200

    filler.free()
    again = api.call(
        "POST", f"/sandboxes/{sandbox}/executions", {"code": "print(2)"}, {"Idempotency-Key": "k"}
    )
    assert (again.status, again.body["output"]["stdout"]) == (201, "2\n"), again
    assert server.stop() == 0, server.log
    _all_agrees(server.data)


def test_an_outcome_that_the_store_cannot_take_is_spooled_and_settled_later(
    disk: Path, processes: Processes
) -> None:
    data = disk / "data"
    DataFolder(data).make()
    # The spool has room where the store has none: a disk of its own, as a careful person would give it.
    with small_disk(data / "spool", "1m"):
        server = processes.serve(data).ready()
        api, filler = server.api(), Filler(disk)
        running = _waiting_program(server, api, "spooled-mark")
        _fill_the_store(api, filler)
        let_go(begun(data, "spooled-mark"))
        answer = running.result()

        assert answer.status == 201, answer
        assert answer.body["ledger"] is None
        assert answer.body["outcome"] == "spooled"
        assert answer.body["status"] == "completed"
        assert answer.body["output"]["stdout"] == "spooled-mark began\nspooled-mark went on\n"
        assert answer.headers.get("thane-ledger-index") is None
        intent = int(answer.headers["thane-intent-index"])
        (file,) = (data / "spool").iterdir()
        assert str(intent) in file.name
        assert b"spooled-mark" not in file.read_bytes(), "the spool is sealed as the entry would be"
        assert api.call("GET", f"/executions/{answer.body['id']}").body["status"] == "running"

        filler.free()
        wait_for(lambda: settled(data), "the reconciler settles from the spool", 40)
        kept = api.call("GET", f"/executions/{answer.body['id']}").body
        assert kept["status"] == "completed"
        assert kept["output"] == answer.body["output"]
        assert kept["resource_usage"] == answer.body["resource_usage"]
        assert kept["billing_info"] == answer.body["billing_info"]
        wait_for(lambda: not list((data / "spool").iterdir()), "the spool is emptied")
        assert server.stop() == 0, server.log
        _all_agrees(data, kept=False)
        processes.end()


@pytest.mark.parametrize("program_lives", [True, False], ids=["recalled", "lost"])
def test_an_outcome_that_neither_store_nor_spool_can_take_is_told_and_found_again(
    program_lives: bool, server: Server, disk: Path, processes: Processes
) -> None:
    api, filler = server.api(), Filler(disk)
    running = _waiting_program(server, api, "unrecorded-mark")
    _fill_the_store(api, filler)
    filler.fill()
    let_go(begun(server.data, "unrecorded-mark"))
    answer = running.result()

    assert (answer.status, answer.body["code"]) == (507, "outcome_unrecorded"), answer
    assert answer.body["result"]["status"] == "completed"
    assert answer.body["result"]["output"]["stdout"] == "unrecorded-mark began\nunrecorded-mark went on\n"
    assert answer.body["result"]["ledger"] is None
    intent = answer.body["intent_index"]
    assert "Free space" in answer.body["hint"]
    assert not [f for f in (server.data / "spool").iterdir() if f.name.endswith(".outcome")]
    id = answer.body["result"]["id"]

    if not program_lives:
        program = server.isolation_pid()
        assert program is not None
        os.kill(program, signal.SIGKILL)
    server.kill()
    filler.free()
    server = processes.serve(server.data).ready()
    wait_for(lambda: settled(server.data), "the reconciler is done")
    kept = server.api().call("GET", f"/executions/{id}").body
    if program_lives:
        assert kept["status"] == "completed", "the isolation program remembers its verdict"
        assert kept["billing_info"] == answer.body["result"]["billing_info"]
        assert kept["resource_usage"] == answer.body["result"]["resource_usage"]
    else:
        assert (kept["status"], kept["error"]["error_type"]) == ("failed", "host_lost")
        assert float(kept["billing_info"]["cost_usd"]) == 0
    outcomes = [
        leaf
        for leaves in Snapshot(server.data).leaves.values()
        for leaf in leaves
        if leaf["kind"] == "outcome" and leaf["intent"] == intent
    ]
    assert len(outcomes) == 1
    assert outcomes[0]["actor"][-1] == "system"
    assert server.stop() == 0, server.log
    _all_agrees(server.data)


def test_a_server_whose_disk_is_full_stops_when_it_is_told_to(server: Server, disk: Path) -> None:
    api, filler = server.api(), Filler(disk)
    _fill_the_store(api, filler)
    assert server.stop() in (0, 70), server.log
    assert "\nTraceback" not in server.log, server.log
    assert not (server.data / "thane.sock").exists()
    filler.free()
    _all_agrees(server.data)


@pytest.mark.parametrize("command", COMMANDS, ids=["run", "serve"])
def test_a_folder_on_a_full_disk_is_refused_with_the_next_step(command: tuple[str, ...], disk: Path) -> None:
    Filler(disk).fill()
    ended = thane(*command, "--data", disk / "data")
    assert ended.returncode == 70, ended
    assert "error: " in ended.stderr
    assert "full" in ended.stderr
    assert "Traceback" not in ended.stderr, ended.stderr
    assert "Free space" in ended.stderr
    assert not ended.stdout


@pytest.mark.parametrize("command", COMMANDS, ids=["run", "serve"])
def test_a_store_whose_disk_has_become_full_is_refused_and_works_again_after(
    command: tuple[str, ...], disk: Path, processes: Processes
) -> None:
    data = disk / "data"
    processes.owns(data)
    assert thane("run", "-c", "print(1)", "--data", data).returncode == 0
    filler = Filler(disk)
    filler.fill()
    ended = thane(*command, "--data", data)
    assert ended.returncode == 70, ended
    assert "Traceback" not in ended.stderr, ended.stderr
    assert "Free space" in ended.stderr
    shown_timeline = thane("timeline", "--data", data)
    assert shown_timeline.returncode == 0, shown_timeline.stderr
    assert "sandboxes.execute" in shown_timeline.stdout
    filler.free()
    assert thane("run", "-c", "print(1)", "--data", data).returncode == 0
    _all_agrees(data)


# -- parts --------------------------------------------------------------------------------------


def _sandbox(api: Api) -> str:
    limits = {"max_memory_mb": 64, "max_execution_time_sec": 30}
    answer = api.call("POST", "/sandboxes", {"resource_limits": limits})
    assert answer.status == 201, answer
    return str(answer.body["id"])


def _waiting_program(server: Server, api: Api, mark: str) -> Background[Answer]:
    """A program that has begun, and waits for the file `go`."""
    sandbox = _sandbox(api)
    other = server.api()
    running = Background(
        lambda: other.call("POST", f"/sandboxes/{sandbox}/executions", {"code": WAITS.format(name=mark)})
    )
    begun(server.data, mark)

    def is_kept() -> bool:
        return any(mark.encode() in c["data"] for c in Snapshot(server.data).tables["execution_chunks"])

    wait_for(is_kept, "its first output is kept")
    return running


def _fill_the_store(api: Api, filler: Filler) -> None:
    """Until the store takes nothing any more: what its log had left over is used up too."""
    filler.fill()

    def is_full() -> Any:
        answer = api.call("POST", "/runs", {"purpose": "x" * 500})
        assert answer.status in (201, 507), answer
        return answer.status == 507

    wait_for(is_full, "the store is full")
    filler.fill()  # what a refused commit may have given back


def _all_agrees(data: Path, *, kept: bool = True) -> None:
    found = problems(data, kept=kept)
    assert not found, shown(found)
