"""Parts of the isolation program by themselves: the filter, control groups, verdicts, names, frames, slots.

Control groups of version 2 are tested here on a tree of plain files only; where a machine
has them, the tests with real jails use them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from thane.isolation import broom, cgroups, claims, watchdog, wire
from thane.isolation.accounting import Usage, parse_report
from thane.isolation.cgroups import GroupLimits
from thane.isolation.collection import Found
from thane.isolation.queueing import Slots
from thane.isolation.request import Limits, Refused, Request, check_name, parse
from thane.isolation.verdict import Ended, judge

ALLOW, KILL = 0x7FFF0000, 0x80000000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


# -- control groups ------------------------------------------------------------------


@pytest.fixture
def version_2(tmp_path: Path) -> Path:
    """A tree of plain files that looks like a version 2 mount with a delegated group."""
    proc, mount = tmp_path / "proc/self", tmp_path / "cgroup"
    proc.mkdir(parents=True)
    own = mount / "user/scope"
    own.mkdir(parents=True)
    (proc / "mountinfo").write_text(f"30 20 0:26 / {mount} rw,nosuid - cgroup2 cgroup2 rw\n")
    (proc / "cgroup").write_text("0::/user/scope\n")
    for folder in (mount, own):
        (folder / "cgroup.controllers").write_text("cpu memory pids io\n")
        (folder / "cgroup.subtree_control").write_text("cpu memory pids\n")
    return tmp_path


def test_version_2_is_taken_where_it_is_delegated(version_2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []
    monkeypatch.setattr(cgroups, "_switch_on", lambda parent, may_move: made.append(parent))
    found = cgroups.find("thane-isolation-1-2", as_root=False, proc=version_2 / "proc")
    assert not isinstance(found, str)
    own = version_2 / "cgroup/user/scope"
    assert (found.kind, found.folders) == ("cgroup2", (str(own / "thane-isolation-1-2"),))
    assert made == [own, own / "thane-isolation-1-2"]

    limits = GroupLimits(memory_bytes=64 << 20, cpu_millicores=1500, processes=10)
    group = found.create("job")
    folder = own / "thane-isolation-1-2/job"
    assert (folder / "pids.max").read_text() == "8", "no fork bomb before it has its limits"
    group.limit(limits)
    written = {path.name: path.read_text() for path in folder.iterdir()}
    assert written == {
        "memory.max": str(64 << 20),
        "memory.oom.group": "1",
        "pids.max": "11",
        "cpu.max": "150000 100000",
    }
    (folder / "memory.current").write_text("1000\n")
    (folder / "memory.peak").write_text("2000\n")
    (folder / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n")
    (folder / "cpu.stat").write_text("usage_usec 777\nuser_usec 700\n")
    assert group.entries() == [str(folder / "cgroup.procs")]
    assert (group.memory_now(), group.peak_memory(), group.oom_kills(), group.cpu_us()) == (
        1000,
        2000,
        2,
        777,
    )
    group.lift_cpu()
    assert (folder / "cpu.max").read_text() == "max 100000"


def test_version_2_without_its_controllers_says_which(version_2: Path) -> None:
    (version_2 / "cgroup/user/scope/cgroup.controllers").write_text("cpu\n")
    found = cgroups.find("thane-isolation-1-2", as_root=False, proc=version_2 / "proc")
    assert isinstance(found, str)
    assert "no controller memory, pids" in found


def test_version_2_moves_the_processes_of_a_delegated_group_into_a_leaf(
    version_2: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = version_2 / "cgroup/user/scope"
    (own / "cgroup.subtree_control").write_text("")
    (own / "cgroup.procs").write_text("41\n42\n")
    busy = [True]
    write_text = Path.write_text

    def refusing(self: Path, data: str, *arguments: Any, **more: Any) -> int:
        if self.name == "cgroup.subtree_control" and busy[0]:
            busy[0] = False
            raise OSError(errno.EBUSY, "busy")
        return write_text(self, data, *arguments, **more)

    monkeypatch.setattr(Path, "write_text", refusing)
    cgroups._switch_on(own, may_move=True)
    assert (own / "thane-isolation-host/cgroup.procs").read_text() == "42"
    assert (own / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"


def test_what_nobody_holds_is_left_over(tmp_path: Path) -> None:
    """Whatever its name says: process ids of another container mean nothing here."""
    ours, dead = tmp_path / claims.name_of_this_program(), tmp_path / "thane-isolation-1-0123abcd"
    for path in (dead, tmp_path / "thane-isolation-host", tmp_path / "somebody-elses"):
        path.mkdir()
    (tmp_path / "thane-isolation-2-0123abcd").touch()
    claims.make(str(ours))
    assert list(claims.left_over(str(tmp_path))) == [str(dead)]
    holding = (
        "import sys; from thane.isolation import claims; "
        "claims.make(sys.argv[1]); print(flush=True); sys.stdin.read()"
    )
    theirs = tmp_path / "thane-isolation-1-4567abcd"
    command = [sys.executable, "-c", holding, str(theirs)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert list(claims.left_over(str(tmp_path))) == [str(dead)]
        other.kill()
        other.wait()
        assert sorted(claims.left_over(str(tmp_path))) == sorted([str(dead), str(theirs)])


def test_a_folder_that_somebody_holds_is_not_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_PAUSE", 0.0)
    path = str(tmp_path / claims.name_of_this_program())
    claims.make(path)
    with pytest.raises(FileExistsError, match="another program has it"):
        claims.make(path)


# -- verdicts ------------------------------------------------------------------------

LIMITS = Limits(64 << 20, 1000, 1 << 20, 2500, 8, 1000)
REQUEST = Request("id", "python", "T1", LIMITS, {}, False, b"", b"", ())


def verdict(**facts: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "cause": None,
        "report": {"exit": 0},
        "wait_status": 0,
        "oom_kills": 0,
        "stdout_truncated": False,
        "stderr_truncated": False,
    }
    return judge(REQUEST, "T2", {}, Ended(**known | facts), Usage(), Found())


@pytest.mark.parametrize(
    ("facts", "outcome", "code", "signal", "words"),
    [
        ({}, "completed", 0, None, ""),
        ({"report": {"exit": 3}}, "failed", 3, None, "code 3"),
        ({"report": {"signal": 11}}, "failed", 139, 11, "SIGSEGV"),
        ({"report": {"signal": 64}}, "failed", 192, 64, ""),
        ({"report": {"signal": 9}}, "host_killed", 137, 9, "did not send"),
        ({"report": {}, "wait_status": 9}, "host_killed", 137, 9, "did not send"),
        ({"report": {}, "wait_status": 137 << 8}, "host_killed", 137, 9, "did not send"),
        ({"report": {"signal": 9}, "oom_kills": 1}, "out_of_memory", 137, 9, "64 MB"),
        ({"report": {"signal": 9}, "cause": "memory"}, "out_of_memory", 137, 9, "--memory"),
        ({"report": {"signal": 9}, "cause": "timeout"}, "timeout", 137, 9, "2.5 s; raise --timeout"),
        ({"report": {"exit": 0}, "cause": "timeout"}, "timeout", 137, 9, "--timeout"),
        ({"report": {"signal": 9}, "cause": "disk"}, "failed", 137, 9, "--disk"),
        ({"report": {"signal": 9}, "cause": "entries"}, "failed", 137, 9, "archive"),
        ({"report": {"signal": 9}, "cause": "processes"}, "failed", 137, 9, "8 processes"),
        ({"report": {"signal": 9}, "cause": "cancelled"}, "cancelled", 137, 9, "cancelled"),
        ({"report": {"signal": 9}, "cause": "lost"}, "cancelled", 137, 9, "connection"),
    ],
)
def test_each_end_has_its_verdict(
    facts: dict[str, Any], outcome: str, code: int, signal: int | None, words: str
) -> None:
    found = verdict(**facts)
    assert (found["outcome"], found["exit_code"], found["signal"]) == (outcome, code, signal)
    assert words in found["message"]


def test_a_report_that_is_not_of_its_form_is_dropped() -> None:
    assert parse_report("started\nexit 3\ncpu_us x\npeak -5\n\nread 7 8\nwritten 9") == {
        "exit": 3,
        "written": 9,
    }


# -- requests and frames ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "a/b.txt", ".hidden", "größe.csv", "-dash", "a b"])
def test_good_names_pass(name: str) -> None:
    assert check_name(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "a\0",
        "a\n",
        "\x7f",
        "a\\b",
        "x" * 256,
        "a/" * 600 + "a",
        "\udcff",
    ],
)
def test_bad_names_are_refused_with_a_reason(name: str) -> None:
    assert check_name(name)


@pytest.mark.parametrize(
    "job",
    [
        None,
        {},
        {"id": "x"},
        {"id": "x", "limits": {}, "language": "python", "code_size": 1, "stdin_size": 0},
        {"id": "x", "limits": {}, "language": "python", "code_size": -1, "stdin_size": 1},
        {"id": "x", "limits": {"memory_bytes": True}, "language": "python", "code_size": 0, "stdin_size": 0},
        {"id": "x", "limits": {}, "language": "python", "code_size": 0, "stdin_size": 0, "env": []},
    ],
)
def test_a_request_without_sense_is_refused(job: object) -> None:
    with pytest.raises(Refused):
        parse({"job": job}, b"")


async def test_frames_go_through_whole() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(wire.encode({"t": "x", "id": 1}, b"\x00\xff") + wire.encode({"t": "y"}))
    reader.feed_eof()
    assert await wire.read(reader) == ({"t": "x", "id": 1}, b"\x00\xff")
    assert await wire.read(reader) == ({"t": "y"}, b"")
    assert await wire.read(reader) is None


@pytest.mark.parametrize(
    "sent", [b"\0\0", b"\0\0\0\2\0\0\0\5{}", struct.pack("!II", 1 << 21, 0), b"\0\0\0\1\0\0\0\0x"]
)
async def test_a_broken_frame_is_an_error(sent: bytes) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(sent)
    reader.feed_eof()
    with pytest.raises(wire.ProtocolError):
        await wire.read(reader)


async def test_slots_are_given_in_the_order_they_were_asked_for() -> None:
    slots = Slots(1)
    assert await slots.take() == 0
    order: list[int] = []

    async def use(number: int) -> None:
        slot = await slots.take()
        order.append(number)
        slots.give(slot)

    tasks = [asyncio.create_task(use(number)) for number in range(5)]
    await asyncio.sleep(0)
    tasks[2].cancel()
    slots.give(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [0, 1, 3, 4]
    assert await slots.take() == 0, "none is lost"


def test_a_folder_nested_deeper_than_recursion_goes_is_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (tmp_path / "kept").write_text("x")
    folder = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=folder)
        below = os.open("d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.symlink(str(tmp_path / "kept"), "link", dir_fd=folder)
    os.mkdir("closed", 0o000, dir_fd=folder)
    os.close(folder)
    broom.remove_tree(str(top))
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


async def test_a_greedy_share_waits_for_its_own_jobs_only() -> None:
    slots = Slots(2)
    held = [(await slots.take("greedy"), "greedy") for _ in range(2)]
    served: list[str] = []

    async def use(share: str) -> None:
        held.append((await slots.take(share), share))
        served.append(share)

    tasks = [asyncio.create_task(use("greedy")) for _ in range(50)]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(use(share)) for share in ("modest", "third", "modest")]
    while tasks:
        await asyncio.sleep(0)
        slots.give(*held.pop(0))
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        tasks = [task for task in tasks if not task.done()]
    assert served[:2] == ["modest", "third"], "each new share comes before the greedy one's next"
    assert served.index("modest", 1) <= 4
    assert len(served) == 53


def test_a_process_that_is_being_taken_down_is_told_from_one_that_lives() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert watchdog.is_exiting(child), "it has ended and nobody has reaped it"
    os.waitpid(child, 0)
    assert watchdog.is_exiting(child), "it is gone"
    assert not watchdog.is_exiting(os.getpid())
