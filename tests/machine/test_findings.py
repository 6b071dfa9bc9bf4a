"""What each finding of `thane doctor` says, on this machine and on ones that lack something."""

from __future__ import annotations

import os
import resource
import socket
import time
from itertools import count
from pathlib import Path

import pytest

from thane.adapters.disk import DataFolder
from thane.adapters.machine.clock import Kept, clock, forward, kernel_clock, not_behind, of_disk, synchronised
from thane.adapters.machine.disk import Mount, disk, file_system, fsync, inodes, mount_of, room, speed
from thane.adapters.machine.folder import folder
from thane.adapters.machine.limits import control_group, file_size, files, group_of, limits, memory, processes
from thane.adapters.machine.ports import port, who_listens
from thane.adapters.machine.versions import kernel, numbers, sqlite, versions
from thane.bootstrap.examine import schema, wal
from thane.kernel.ports.machine import Finding, Grade

OK, NOTE, WARNING, FAILURE = Grade.OK, Grade.NOTE, Grade.WARNING, Grade.FAILURE
MIB = 1 << 20
HERE = Path("/data")


def graded(found: list[Finding]) -> dict[str, Grade]:
    return {f.check: f.grade for f in found}


def mount(kind: str, *, read_only: bool = False) -> Mount:
    return Mount("/data", kind, "source", read_only)


DESCRIBED = [
    (room(HERE, 5 << 30), OK),
    (room(HERE, 500 * MIB), WARNING),
    (room(HERE, 10 * MIB), FAILURE),
    (inodes(HERE, 0, 0), OK),
    (inodes(HERE, 1000, 500), WARNING),
    (inodes(HERE, 1 << 20, 1 << 19), OK),
    (file_system(HERE, mount("ext4")), OK),
    (file_system(HERE, mount("ext4", read_only=True)), FAILURE),
    (file_system(HERE, mount("nfs4")), FAILURE),
    (file_system(HERE, mount("cifs")), FAILURE),
    (file_system(HERE, mount("fuse.sshfs")), FAILURE),
    (file_system(HERE, mount("fuseblk")), WARNING),
    (file_system(HERE, mount("tmpfs")), WARNING),
    (file_system(HERE, mount("overlay")), WARNING),
    (speed(2.0, 9.0), OK),
    (speed(80.0, 90.0), WARNING),
    (fsync(Path("/proc")), FAILURE),
    (synchronised(None), NOTE),
    (synchronised(Kept(True, 300.0, 12_000)), OK),
    (synchronised(Kept(True, 300.0, 9_000_000)), WARNING),
    (synchronised(Kept(False, 0.0, 16_000_000)), WARNING),
    (forward(time.monotonic_ns), OK),
    (forward(count(0, -1).__next__), FAILURE),
    (not_behind(1000.0, 990.0), OK),
    (not_behind(1000.0, 1100.0), FAILURE),
    (of_disk(1000.0, 1000.5), OK),
    (of_disk(1000.0, 1060.0), WARNING),
    (files(20_000, 13_000, 1100), OK),
    (files(4096, 13_000, 1100), WARNING),
    (files(512, 13_000, 1100), FAILURE),
    (files(resource.RLIM_INFINITY, 13_000, 1100), OK),
    (processes(resource.RLIM_INFINITY), OK),
    (processes(100), WARNING),
    (file_size(resource.RLIM_INFINITY), OK),
    (file_size(100 * MIB), WARNING),
    (memory(None, 2, 256), NOTE),
    (memory(4096 * MIB, 2, 256), OK),
    (memory(300 * MIB, 8, 256), WARNING),
    (control_group(None, 2, 256), OK),
    (sqlite("3.54.1", "3.54.1.0"), OK),
    (sqlite("3.40.0", "3.40.0.0"), FAILURE),
    (kernel("Linux", "6.1.0-18-amd64"), OK),
    (kernel("Linux", "5.4.0"), WARNING),
    (kernel("Darwin", "24.0.0"), FAILURE),
    (schema("a" * 64, "a" * 64), OK),
    (schema(None, "a" * 64), NOTE),
    (schema("b" * 64, "a" * 64), FAILURE),
    (port("127.0.0.1", 0, None), OK),
    (port("192.0.2.1", 8090, None), FAILURE),
    (port("no.such.invalid", 8090, None), FAILURE),
]


@pytest.mark.parametrize(("found", "grade"), DESCRIBED, ids=lambda given: getattr(given, "detail", given))
def test_a_finding_has_its_grade_and_what_is_wrong_has_its_command(found: Finding, grade: Grade) -> None:
    assert found.grade is grade
    assert bool(found.remedy) is (grade in (WARNING, FAILURE))
    assert found.detail


# -- this machine ---------------------------------------------------------------------------


def test_this_machine_is_looked_at_and_nothing_is_left(tmp_path: Path) -> None:
    assert set(graded(disk(tmp_path))) == {"room", "inodes", "file system", "fsync"}
    assert set(graded(clock(tmp_path, ()))) == {"synchronised", "monotonic", "past", "disk's clock"}
    checks = {"open files", "processes", "file size", "memory", "control group"}
    assert set(graded(limits(2, 256, (13_000, 1100)))) == checks
    assert graded(versions()) == dict.fromkeys(("Thane", "Python", "SQLite", "kernel"), OK)
    assert list(tmp_path.iterdir()) == []


def test_the_kernel_says_whether_its_clock_is_kept() -> None:
    kept = kernel_clock()
    assert kept is None or kept.most_error_us >= 0


def test_a_file_of_the_future_is_found(tmp_path: Path) -> None:
    written = tmp_path / "store.db"
    written.write_text("")
    os.utime(written, (time.time() + 3600, time.time() + 3600))
    assert graded(clock(tmp_path, (written,)))["past"] is FAILURE


def test_the_file_system_is_the_one_that_was_mounted_last_and_deepest(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "1 0 8:1 / / rw - ext4 /dev/vda rw\n"
        f"2 1 0:5 / {tmp_path} rw shared:1 - tmpfs tmpfs rw\n"
        f"3 2 0:6 / {tmp_path} ro,nosuid - nfs4 host:/x rw\n"
        f"4 1 0:7 / {tmp_path}/with\\040space rw - btrfs b rw\n"
        "a line that is none\n"
    )
    here = mount_of(tmp_path, table)
    assert here == Mount(str(tmp_path), "nfs4", "host:/x", True)
    (tmp_path / "with space").mkdir()
    spaced = mount_of(tmp_path / "with space", table)
    assert spaced is not None
    assert spaced.kind == "btrfs"
    assert mount_of(tmp_path, tmp_path / "none") is None
    root = mount_of(Path("/"), table)
    assert root is not None
    assert root.kind == "ext4"


def test_a_control_group_is_found_and_its_limits_are_read(tmp_path: Path) -> None:
    membership = tmp_path / "cgroup"
    membership.write_text("1:name=systemd:/x\n0::/user/thane\n")
    assert group_of(membership, tmp_path) is None
    group = tmp_path / "user" / "thane"
    group.mkdir(parents=True)
    (group / "cgroup.procs").write_text("")
    assert group_of(membership, tmp_path) == group
    assert group_of(tmp_path / "none", tmp_path) is None
    for most, pids, used, grade in (
        ("max", "max", "9", OK),
        (str(256 * MIB), "max", "9", WARNING),
        (str(8192 * MIB), "300", "290", WARNING),
        (str(8192 * MIB), "3000", "290", OK),
    ):
        (group / "memory.max").write_text(most)
        (group / "pids.max").write_text(pids)
        (group / "pids.current").write_text(used)
        assert control_group(group, 2, 256).grade is grade


def test_a_port_that_is_taken_names_who_has_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert who_listens(number) == os.getpid()
        found = port("127.0.0.1", number, None)
        assert (found.grade, f"process {os.getpid()}" in found.detail) == (WARNING, True)
        assert found.remedy == f"thane serve --port {number + 1}"
        assert port("127.0.0.1", number, os.getpid()).grade is OK
    assert port("127.0.0.1", number, None).grade is OK
    assert who_listens(number) is None


def test_versions_are_compared_as_numbers() -> None:
    assert numbers("6.18.44-fc-v669") == (6, 18, 44)
    assert numbers("nothing") == ()


def test_a_long_log_is_told(tmp_path: Path) -> None:
    log = tmp_path / "store.db-wal"
    assert wal(log).grade is OK
    with log.open("wb") as file:
        file.truncate(100 * MIB)
    assert (wal(log).grade, "100 MiB" in wal(log).detail) == (WARNING, True)


# -- the data folder ------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path: Path) -> DataFolder:
    """A folder as Thane makes it, without a program that does."""
    made = DataFolder(tmp_path / "data")
    made.make()
    made.store.write_bytes(b"")
    made.keys.mkdir(mode=0o700)
    for name in ("ledger.key", "index.key", "current", "signer-state"):
        (made.keys / name).touch(0o600)
    return made


def test_a_folder_as_thane_makes_it_is_sound(place: DataFolder) -> None:
    assert graded(folder(place)) == dict.fromkeys(("place", "modes", "keys", "spool"), OK)
    assert graded(folder(DataFolder(place.path / "none"))) == {"place": OK}


def test_what_others_may_look_into_is_told_with_the_command(place: DataFolder) -> None:
    (place.keys / "ledger.key").chmod(0o644)
    found = next(f for f in folder(place) if f.check == "modes")
    assert (found.grade, found.remedy) == (FAILURE, f"chmod go= {place.keys / 'ledger.key'}")
    assert os.system(found.remedy) == 0
    assert graded(folder(place))["modes"] is OK


def test_a_store_elsewhere_that_others_may_read_is_told(place: DataFolder, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.db"
    elsewhere.touch(0o644)
    assert graded(folder(DataFolder(place.path, store=elsewhere)))["modes"] is FAILURE


def test_keys_that_are_missing_are_told(place: DataFolder) -> None:
    (place.keys / "ledger.key").unlink()
    found = next(f for f in folder(place) if f.check == "keys")
    assert (found.grade, "ledger.key" in found.detail) == (FAILURE, True)


def test_outcomes_that_wait_are_told(place: DataFolder) -> None:
    (place.spool / "one").write_text("{}")
    assert graded(folder(place))["spool"] is WARNING


def test_a_folder_of_somebody_else_or_none_at_all_is_told(place: DataFolder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert graded(folder(DataFolder(tmp_path / "file"))) == {"place": FAILURE}
    if os.geteuid() == 0:
        os.chown(place.path, 65534, 65534)
        assert graded(folder(place))["place"] is FAILURE
