"""A store that is behind what the signer knows: a write-ahead log that was lost, an older copy put back.

Start is refused with the index and the command to run, and nothing is touched, so that the
right copy can be put in place. A host that knows nothing of the ledger starts from the newest
checkpoint in the store.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import apsw
import pytest

from tests.crash.agreement import problems, shown, verified
from tests.crash.processes import Processes, Server, end_isolation, thane, wait_for

pytestmark = pytest.mark.crash

RUN, SERVE = ("run", "-c", "print(1)"), ("serve", "--port", "0")
# The owner's own: who holds the folder, the isolation program's files, sockets.
NOT_THE_STORE = ("owner.lock", "isolation.log", "isolation.sock", "isolation.sock.lock", "thane.sock")


@pytest.mark.parametrize(
    ("how", "command"), [("deleted", SERVE), ("truncated", RUN)], ids=["deleted", "truncated"]
)
def test_a_store_whose_log_is_lost_after_it_was_signed_is_refused_and_left_alone(
    how: str, command: tuple[str, ...], processes: Processes, data: Path, tmp_path: Path
) -> None:
    assert thane("run", "-c", "print('first')", "--data", data).returncode == 0
    server = processes.serve(data).ready()
    _signed_runs(server, 5)
    server.kill()
    end_isolation(data)
    good = tmp_path / "good"
    shutil.copytree(data, good, ignore=shutil.ignore_patterns("*.sock"))

    log = data / "store.db-wal"
    assert log.stat().st_size > 4096, "the last entries are in the log only"
    if how == "deleted":
        log.unlink()
        (data / "store.db-shm").unlink()
    else:
        with log.open("r+b") as file:
            file.truncate(2000)

    _refused_and_untouched(data, command)
    # The copy with its log is put back: it goes on where it stood.
    for name in ("store.db", "store.db-wal"):
        shutil.copyfile(good / name, data / name)
    (data / "store.db-shm").unlink(missing_ok=True)
    _works_and_agrees(data)


def test_an_older_copy_of_the_store_is_refused_and_the_newest_one_starts(
    processes: Processes, data: Path, tmp_path: Path
) -> None:
    processes.owns(data)
    assert thane("run", "-c", "print('first')", "--data", data).returncode == 0
    shutil.copyfile(data / "store.db", tmp_path / "old.db")
    assert thane("run", "-c", "print('second')", "--data", data).returncode == 0
    shutil.copyfile(data / "store.db", tmp_path / "new.db")
    _put(tmp_path / "old.db", data)

    text = _refused_and_untouched(data, RUN)
    (named,) = re.findall(r"holds? entry (\d+)|must hold entry (\d+)", text) or [("", "")]
    assert any(named), text

    _put(tmp_path / "new.db", data)
    _works_and_agrees(data)


def test_a_store_that_is_gone_altogether_is_not_begun_anew(processes: Processes, data: Path) -> None:
    processes.owns(data)
    assert thane("run", "-c", "print('first')", "--data", data).returncode == 0
    kept = data.parent / "kept.db"
    shutil.move(data / "store.db", kept)
    for name in ("store.db-wal", "store.db-shm"):
        (data / name).unlink(missing_ok=True)
    ended = thane("run", "-c", "print('second')", "--data", data)
    assert ended.returncode == 70, ended
    assert "were signed" in ended.stderr
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (data / name).unlink(missing_ok=True)
    shutil.move(kept, data / "store.db")
    _works_and_agrees(data)


def test_verify_says_what_is_missing_from_a_store_that_is_behind(processes: Processes, data: Path) -> None:
    processes.owns(data)
    assert thane("run", "-c", "print('first')", "--data", data).returncode == 0
    old = data.parent / "old.db"
    shutil.copyfile(data / "store.db", old)
    assert thane("run", "-c", "print('second')", "--data", data).returncode == 0
    _put(old, data)
    ended = thane("verify", "--data", data)
    assert ended.returncode == 1, ended
    assert "problem" in ended.stdout


def test_a_host_without_signer_state_starts_from_the_newest_signed_checkpoint(
    processes: Processes, data: Path
) -> None:
    processes.owns(data)
    assert thane("run", "-c", "print('first')", "--data", data).returncode == 0
    state = data / "keys/signer-state"
    before = state.read_text()
    state.unlink()
    server = processes.serve(data).ready()
    assert "no signer state on this host" in server.log
    _signed_runs(server, 1)
    assert server.stop() == 0
    assert state.exists()
    assert _size_of(state.read_text()) > _size_of(before), "it signs on from there"
    assert verified(data) == []


# -- parts --------------------------------------------------------------------------------------


def _signed_runs(server: Server, count: int) -> None:
    """Runs, and a checkpoint over them: what is signed is on the disk, though only in the log."""
    state = server.data / "keys/signer-state"
    before = state.read_text() if state.exists() else ""
    api = server.api()
    for n in range(count):
        assert api.call("POST", "/runs", {"purpose": f"run {n}"}).status == 201
    wait_for(lambda: state.exists() and state.read_text() != before, "the signer has signed")
    before = state.read_text()
    assert api.call("POST", "/runs", {"purpose": "the last"}).status == 201
    wait_for(lambda: state.read_text() != before, "the signer has signed the last one too")


def _put(copy: Path, data: Path) -> None:
    """Put a copy of the store in place, as a person would who restores one."""
    for name in ("store.db-wal", "store.db-shm"):
        (data / name).unlink(missing_ok=True)
    shutil.copyfile(copy, data / "store.db")


def _refused_and_untouched(data: Path, command: tuple[str, ...]) -> str:
    before = _content(data)
    ended = thane(*command, "--data", data)
    assert ended.returncode == 70, ended
    assert "Traceback" not in ended.stderr, ended.stderr
    assert re.search(r"has \d+ entries, but \d+ were signed", ended.stderr), ended.stderr
    assert "thane verify" in ended.stderr, "the command to run"
    assert not ended.stdout
    assert _content(data) == before, "nothing was touched"
    return ended.stderr


def _works_and_agrees(data: Path) -> None:
    ended = thane("run", "-c", "print('again')", "--data", data)
    assert ended.returncode == 0, ended
    assert ended.stdout == "again\n"
    found = problems(data)
    assert not found, shown(found)
    end_isolation(data)


def _content(data: Path) -> dict[str, object]:
    """All that the folder says: files byte for byte, the store's as the rows they make together.

    SQLite may copy a log back into the store's file, which changes no row.
    """
    found: dict[str, object] = {
        str(path.relative_to(data)): path.read_bytes()
        for path in sorted(data.rglob("*"))
        if path.is_file() and path.name not in NOT_THE_STORE and not path.name.startswith("store.db")
    }
    connection = apsw.Connection(str(data / "store.db"), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        schema = list(connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name"))
        found["schema"] = schema
        for kind, name, sql in schema:
            if kind == "table" and not str(sql).startswith("CREATE VIRTUAL"):
                found[f"table {name}"] = list(connection.execute(f'SELECT * FROM "{name}"'))
    finally:
        connection.close(True)
    return found


def _size_of(note: str) -> int:
    """The size that a checkpoint (a signed note) names in its second line."""
    return int(note.splitlines()[1])
