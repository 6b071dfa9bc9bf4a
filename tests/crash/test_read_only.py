"""A data folder that cannot be written: what needs it says so, what only reads still works.

As root the folder is mounted read-only, for nothing else stops root; as an ordinary user
its modes are taken away.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.disks import read_only
from tests.crash.processes import Processes, end_isolation, thane

pytestmark = pytest.mark.crash

WRITES = [("run", "-c", "print(1)"), ("serve", "--port", "0"), ("keys", "create", "another")]
READS = [("timeline",), ("verify",), ("prove", "1")]


@contextlib.contextmanager
def _without_writing(folder: Path) -> Iterator[None]:
    if os.geteuid() == 0:
        with read_only(folder):
            yield
        return
    paths = [folder, *(p for p in folder.rglob("*") if not p.is_symlink())]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(modes[path] & ~0o222)
    try:
        yield
    finally:
        for path in paths:
            path.chmod(modes[path])


@pytest.fixture
def closed(data: Path, processes: Processes) -> Iterator[Path]:
    """A folder in which something has happened, and which cannot be written any more."""
    processes.owns(data)
    assert thane("run", "-c", "print(1)", "--data", data).returncode == 0
    end_isolation(data)
    with _without_writing(data):
        yield data


@pytest.mark.parametrize("command", WRITES, ids=lambda c: c[0])
def test_a_command_that_writes_says_that_the_folder_cannot_be_written(
    command: tuple[str, ...], closed: Path
) -> None:
    before = _content(closed)
    ended = thane(*command, "--data", closed)
    assert ended.returncode == 70, ended
    assert not ended.stdout
    assert "Traceback" not in ended.stderr
    assert str(closed) in ended.stderr
    assert "--data" in ended.stderr or "writable" in ended.stderr, "the next step"
    assert _content(closed) == before


@pytest.mark.parametrize("command", READS, ids=lambda c: c[0])
def test_a_command_that_reads_works_on_a_folder_that_cannot_be_written(
    command: tuple[str, ...], closed: Path
) -> None:
    ended = thane(*command, "--data", closed)
    assert ended.returncode == 0, ended
    assert ended.stdout


@pytest.mark.parametrize("command", READS, ids=lambda c: c[0])
def test_what_only_a_log_holds_is_not_passed_over_when_it_cannot_be_read(
    command: tuple[str, ...], data: Path, processes: Processes
) -> None:
    server = processes.serve(data).ready()
    assert server.api().call("POST", "/runs", {"purpose": "only in the log"}).status == 201
    server.kill()
    end_isolation(data)
    assert (data / "store.db-wal").stat().st_size
    (data / "store.db-shm").unlink()
    with _without_writing(data):
        ended = thane(*command, "--data", data)
    assert ended.returncode == 70, ended
    assert "write-ahead log" in ended.stderr
    assert "copy of the folder" in ended.stderr
    again = thane("timeline", "--data", data)
    assert again.returncode == 0, "the log is read where it can be"
    assert "runs.create" in again.stdout


@pytest.mark.parametrize("command", WRITES, ids=lambda c: c[0])
def test_a_folder_cannot_be_made_where_nothing_can_be_written(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    with _without_writing(place):
        ended = thane(*command, "--data", place / "data")
    assert ended.returncode == 70, ended
    assert "cannot be used" in ended.stderr
    assert "--data" in ended.stderr
    assert not list(place.iterdir())


def _content(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
