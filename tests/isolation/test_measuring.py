"""What is counted where no control group does: folders, sockets, removed files; and what fits a verdict."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from pathlib import Path

import pytest

from thane.isolation import broom, watchdog, wire
from thane.isolation.accounting import used_below
from thane.isolation.collection import Found, scan
from thane.isolation.request import MAX_FILES


def _deep(folder: Path, levels: int) -> None:
    """A folder in a folder, further down than a path can say, and a file at the bottom."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 20, dir_fd=here)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    file = os.open("file", os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=here)
    os.write(file, bytes(1 << 20))
    os.fsync(file)
    os.close(file)
    os.close(here)


def test_what_lies_deeper_than_a_path_is_counted(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    _deep(top, 1000)
    used, entries = used_below([str(top)])
    assert entries == 1001
    assert used >= 1 << 20
    broom.remove_tree(str(top))


def test_a_link_in_place_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_bytes(bytes(1 << 20))
    (tmp_path / "top").mkdir()
    (tmp_path / "top/link").symlink_to(tmp_path / "elsewhere")
    used, entries = used_below([str(tmp_path / "top")])
    assert entries == 1
    assert used < 1 << 20


def test_sockets_and_removed_files_of_processes_are_counted_once() -> None:
    before = watchdog.opened([os.getpid()])
    ours, theirs = socket.socketpair()
    with tempfile.TemporaryFile(dir="/var/tmp") as removed:
        removed.write(bytes(3 << 20))
        removed.flush()
        os.fsync(removed.fileno())
        again = os.dup(removed.fileno())
        after = watchdog.opened([os.getpid()])
        os.close(again)
    ours.close()
    theirs.close()
    assert after.sockets - before.sockets == 2
    assert 3 << 20 <= after.removed_bytes - before.removed_bytes < 4 << 20
    assert not after.hidden


def test_the_number_of_sockets_follows_from_memory() -> None:
    assert watchdog.most_sockets(1) == 32
    assert watchdog.most_sockets(512 << 20) * watchdog.SOCKET_BYTES <= 512 << 20


@pytest.mark.parametrize("name", ["\U0001f600" * 60, "x" * 240, "\udcff" * 80])
def test_no_names_make_a_verdict_too_large_for_a_frame(name: str) -> None:
    found = Found()
    for number in range(4000):
        found.keep(f"{name}{number}", 1)
        found.refuse(f"{name}/{name}/{name}/{number}", "it is a symbolic link")
    found.sort()
    header = json.dumps([found.files, found.refused])
    assert len(header) < wire.MAX_HEADER * 0.6
    assert 0 < len(found.files) <= MAX_FILES
    assert len(found.files) + len(found.refused) + found.left_out == 8000


def test_looking_has_an_end(tmp_path: Path) -> None:
    for number in range(5100):
        (tmp_path / str(number)).touch()
    found = scan(str(tmp_path), {}, 1 << 20)
    assert len(found.files) == MAX_FILES
    assert "not looked at" in found.refused[-1][1]
