"""A stand-in host: namespaces of its own in which a hostile program runs without a jail and does its evil.

Run as a script, with a plan as JSON on standard input and a finding as JSON on standard output. It
takes new pid, mount, network, ipc and uts namespaces (as an ordinary user inside a user namespace of
its own), makes everything that exists read-only, puts memory file systems over the folders that a
program may fill, makes a canary, and runs the program with bounds on memory, files, processes,
processor time and time. Its first process ends after the program; the kernel then ends all the rest.
"""

from __future__ import annotations

import base64
import ctypes
import fcntl
import json
import os
import resource
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.hostile.canary import Canary, Visitor
else:  # run as a script, with nothing but the standard library
    sys.path.insert(0, str(Path(__file__).parent))
    from canary import Canary, Visitor

_NAMESPACES = 0x00020000 | 0x08000000 | 0x04000000 | 0x20000000 | 0x40000000  # mount ipc uts pid net
_NEW_USER = 0x10000000
_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_PRIVATE_RECURSIVE = (1 << 18) | (1 << 14)
_SYSTEM_FOLDER = "/opt"
_SYSTEM_PYTHON = "/usr/bin/python3"
_OVER = ("/tmp", "/var/tmp", "/dev/shm", _SYSTEM_FOLDER)  # covered by memory of our own
_PR_SET_PDEATHSIG = 1
_SIOCSIFFLAGS, _UP = 0x8914, 1
_BOUNDS = (
    (resource.RLIMIT_AS, 4 << 30),
    (resource.RLIMIT_CPU, 15),
    (resource.RLIMIT_FSIZE, 2 << 40),
    (resource.RLIMIT_NOFILE, 1024),
    (resource.RLIMIT_CORE, 0),
)
_PROCESSES = 400
_FIRST_SPARE_UID = 61_000
_KEPT_OUTPUT = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc, name)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _enter_namespaces() -> None:
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        _call("unshare", _NAMESPACES)
        return
    _call("unshare", _NAMESPACES | _NEW_USER)
    maps = ("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")
    for name, text in maps:
        Path(f"/proc/self/{name}").write_text(text)


def _close_off() -> None:
    """From here on nothing of the real host can be written to."""
    _call("mount", None, b"/", None, ctypes.c_ulong(_PRIVATE_RECURSIVE), None)
    read_only = struct.pack("QQQQ", 1, 0, 0, 0)
    if _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, read_only, len(read_only)) == -1:
        raise OSError(ctypes.get_errno(), "mount_setattr")
    _call("mount", b"proc", b"/proc", b"proc", ctypes.c_ulong(0), None)
    for path in _OVER:
        if Path(path).is_dir():
            _call("mount", b"tmpfs", path.encode(), b"tmpfs", ctypes.c_ulong(0), b"size=256m,mode=1777")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as loopback:
        fcntl.ioctl(loopback, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", _UP))


class Play:
    """The program's run in the stand-in, watched by its first process."""

    def __init__(self, plan: dict[str, Any], canary: Canary) -> None:
        self._plan = plan
        self._canary = canary
        self.work = Path("/tmp/work")  # a memory file system of the stand-in
        self.work.mkdir(mode=0o777)
        self.work.chmod(0o777)
        for name, content in plan["files"].items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(base64.b64decode(content))
        self.output = bytearray()
        self.errors = bytearray()
        self.produced = 0
        self.status: int | None = None
        self._pid = 0

    def _command(self) -> list[str]:
        plan = self._plan
        if plan["language"] == "shell":
            return ["/bin/bash" if Path("/bin/bash").exists() else "/bin/sh", "-c", plan["source"]]
        head = "" if plan["raw"] else f"H = {self._canary.values!r}\n{plan['prelude']}\n"
        return [os.path.realpath(sys.executable), "-I", "-S", "-B", "-c", head + plan["source"]]

    def _become(self, streams: dict[int, int]) -> None:
        """The program, in a fork of its own parent, which in turn is a child of the first process."""
        for number, descriptor in streams.items():
            os.dup2(descriptor, number)
        # A careless server: it leaves a descriptor of its database to whatever it starts.
        leaked = os.open(self._canary.values["database"], os.O_RDONLY)
        os.set_inheritable(leaked, True)
        os.chdir(self.work)
        os.setsid()
        for number, value in _BOUNDS:
            resource.setrlimit(number, (value, value))
        if self._plan["spare_uid"] and os.getuid() == 0:
            uid = self._plan["spare"]
            resource.setrlimit(resource.RLIMIT_NPROC, (_PROCESSES, _PROCESSES))
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        environment = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "TMPDIR": "/tmp",
            "HOME": str(self.work),
            "THANE_HOSTILE": self._canary.mark,
            **self._plan["env"],
        }
        command = self._command()
        try:
            os.execve(command[0], command, environment)
        except PermissionError:  # our interpreter lies where another user does not come
            os.execve(_SYSTEM_PYTHON, [_SYSTEM_PYTHON, *command[1:]], environment)

    def _start(self) -> dict[int, str]:
        out, out_write = os.pipe()
        err, err_write = os.pipe()
        word, word_write = os.pipe()
        stdin = os.memfd_create("stdin", 0)
        os.write(stdin, base64.b64decode(self._plan["stdin"]))
        os.lseek(stdin, 0, os.SEEK_SET)
        if os.fork() == 0:  # the program's parent, which the program may kill
            try:
                child = os.fork()
                if child == 0:
                    try:
                        self._become({0: stdin, 1: out_write, 2: err_write})
                    except BaseException as error:  # noqa: BLE001  # told on the program's own stream
                        os.write(err_write, f"the stand-in: {error!r}".encode())
                    os._exit(125)
                os.write(word_write, f"pid {child}\n".encode())
                os.close(out_write)
                os.close(err_write)
                _, status = os.waitpid(child, 0)
                os.write(word_write, f"status {status}\n".encode())
            finally:
                os._exit(0)
        for descriptor in (out_write, err_write, word_write, stdin):
            os.close(descriptor)
        for descriptor in (out, err, word):
            os.set_blocking(descriptor, False)
        return {out: "out", err: "err", word: "word"}

    def _take(self, kind: str, data: bytes) -> None:
        if kind == "word":
            for line in data.decode().splitlines():
                name, _, value = line.partition(" ")
                if name == "pid":
                    self._pid = int(value)
                elif name == "status":
                    self.status = int(value)
            return
        self.produced += len(data)
        kept = self.output if kind == "out" else self.errors
        kept += data[: max(0, _KEPT_OUTPUT - len(kept))]

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._pid and self.status is None:
                self.status = status

    def run(self) -> bool:
        """Until the program has ended, or has shown what it was to show, or its time is over."""
        by, amount = self._plan["by"], self._plan["amount"]
        started = time.monotonic()
        open_ends = self._start()
        while time.monotonic() - started < self._plan["bound_s"]:
            for ready in select.select(list(open_ends), [], [], 0.02)[0]:
                data = os.read(ready, 1 << 16)
                if data:
                    self._take(open_ends[ready], data)
                else:
                    del open_ends[ready]
                    os.close(ready)
            if self.status is None:
                self._reap()
            if by == "reached" and b"REACHED" in self.output:
                return True
            if by == "output" and self.produced > amount:
                return True
            if by == "processes" and len(_numbers()) > amount:
                return True
            if by == "outlives" and time.monotonic() - started > amount / 1000:
                return self.status is None
            if self.status is not None:
                break
        self._drain(open_ends)
        # What was killed may take a moment to be gone.
        deadline = time.monotonic() + 2
        while not (shown := self._judge()) and by == "touches" and time.monotonic() < deadline:
            select.select([], [], [], 0.02)
        return shown

    def _drain(self, open_ends: dict[int, str]) -> None:
        for descriptor, kind in open_ends.items():
            try:
                while data := os.read(descriptor, 1 << 16):
                    self._take(kind, data)
            except BlockingIOError:
                continue

    def _judge(self) -> bool:
        by, amount = self._plan["by"], self._plan["amount"]
        if by == "reached":
            return b"REACHED" in self.output
        if by == "leaves":
            return bool(self._canary.left_processes())
        if by == "touches":
            return bool(self._canary.touched())
        if by == "exits":
            return self.status is not None and os.waitstatus_to_exitcode(self.status) == amount
        return any(self._harms(by, amount, *entry) for entry in _walk(self.work))

    def _harms(self, by: str, amount: int, path: bytes, status: os.stat_result, depth: int) -> bool:
        """Whether a naive reader of this entry, who follows what he finds, comes to harm."""
        kind = status.st_mode
        if by == "secret":
            try:
                content = Path(os.fsdecode(path)).read_bytes() if not stat.S_ISFIFO(kind) else b""
            except OSError:
                return False
            return self._canary.secret.encode() in content
        name = path.rpartition(b"/")[2]
        return {
            "fifo": stat.S_ISFIFO(kind),
            "socket": stat.S_ISSOCK(kind),
            "sparse": status.st_size > amount and status.st_blocks * 512 < status.st_size,
            "name": not name.isascii() or not name.decode("ascii").isprintable() or b"\\" in name,
            "linked": status.st_nlink > 1 and stat.S_ISREG(kind),
            "setuid": bool(kind & (stat.S_ISUID | stat.S_ISGID)),
            "deep": depth > amount,
            "many": len(list(self.work.iterdir())) > amount,
            "unreadable": not kind & 0o444,
        }[by]


def _numbers() -> list[str]:
    return [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _walk(folder: Path) -> list[tuple[bytes, os.stat_result, int]]:
    """Everything below `folder`, as one finds it who follows links, with how deep it lies.

    Goes down by descriptors, in one line of folders, so that no depth is too deep for it.
    """
    found: list[tuple[bytes, os.stat_result, int]] = []
    waiting = [(os.open(folder, os.O_RDONLY), 0)]
    while waiting:
        top, depth = waiting.pop()
        for name in os.listdir(top):  # noqa: PTH208  # of a descriptor
            try:
                status = os.stat(name, dir_fd=top)
                if stat.S_ISDIR(status.st_mode):
                    waiting.append((os.open(name, os.O_RDONLY, dir_fd=top), depth + 1))
            except OSError:
                continue
            found.append((f"/proc/self/fd/{top}/{name}".encode("utf-8", "surrogateescape"), status, depth))
    return found


def _first_process(plan: dict[str, Any]) -> dict[str, Any]:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # to go down deep folders
    os.setsid()  # a process group that has a number in here
    _close_off()
    canary = Canary(_SYSTEM_FOLDER)
    canary.values["isolation_socket"] = canary.values["socket"]
    service = subprocess.Popen(["sleep", "600"], env={})  # somebody else's process, for those who look around
    visitor = Visitor(canary.values["free_port"]) if plan["visited"] else None
    play = Play(plan, canary)
    shown = play.run()
    if visitor is not None:
        visitor.stop()
    service.kill()
    return {
        "shown": shown,
        "stdout": play.output.decode("latin-1")[:4000],
        "stderr": play.errors.decode("utf-8", "replace")[-2000:],
        "status": play.status,
        "touched": canary.touched(),
    }


def main() -> None:
    plan: dict[str, Any] = json.load(sys.stdin)
    plan["spare"] = _FIRST_SPARE_UID + os.getpid() % 1000  # here, where numbers of processes differ
    answer_read, answer_write = os.pipe()
    _enter_namespaces()
    child = os.fork()
    if child == 0:
        os.close(answer_read)
        try:
            answer = _first_process(plan)
        except BaseException as error:  # noqa: BLE001  # told to whoever started us
            answer = {"error": f"{type(error).__name__}: {error}"}
        with os.fdopen(answer_write, "w") as file:
            json.dump(answer, file)
        os._exit(0)
    os.close(answer_write)
    with os.fdopen(answer_read) as file:
        text = file.read()
    os.waitpid(child, 0)
    sys.stdout.write(text)


if __name__ == "__main__":
    assert shutil.which("sleep"), "the canary is a process that sleeps"
    main()
