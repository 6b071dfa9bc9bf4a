"""What a hostile program must not touch: files, processes, sockets and settings of a host.

Standard library only and alone in its file, as it is made twice: on the real host while a
program runs in a jail, and in the stand-in host in which the same program runs without one.
`values` is what programs are told (`H` in their sources): they know exactly what to aim at.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

NAME = "thane-hostile"  # in the name of everything that a program leaves on a host if it can
_IPC_CREATE = 0o1000
_IPC_REMOVE = 0
_NO_WAIT = 0o4000
_SEGMENT = 4096

_libc = ctypes.CDLL(None, use_errno=True)
_libc.shmat.restype = ctypes.c_void_p


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def own_address() -> str:
    """An address of this host that is not the loopback's; the loopback's if there is no other."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))  # sends nothing: only asks for the route
        except OSError:
            return "127.0.0.2"
        return str(asking.getsockname()[0])


def _listener(address: str) -> socket.socket:
    made = socket.create_server((address, 0))
    made.setblocking(False)
    return made


def _unix(name: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX)
    made.bind(name)
    made.listen()
    made.setblocking(False)
    return made


def _datagrams(name: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(name)
    made.setblocking(False)
    return made


class Canary:
    """Made by whoever plays the host; `touched` says what is not as it was."""

    def __init__(self, system_folder: str) -> None:
        """`system_folder` is one that belongs to the system and that programs try to write to."""
        self.mark = f"{NAME}-{secrets.token_hex(6)}"
        self.secret = secrets.token_hex(12)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{NAME}-canary-"))
        self._make_files()
        self._process = subprocess.Popen(
            [f"secret-{self.secret}", "600"], executable="/bin/sleep", env={"SECRET": self.secret}
        )
        while _read(f"/proc/{self._process.pid}/comm") != "sleep\n":
            time.sleep(0.001)  # `Popen` returns while the kernel still puts the new program in place
        self._sockets = {
            "port": _listener("127.0.0.1"),
            "any_port": _listener("0.0.0.0"),
            "udp_port": socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        }
        self._sockets["udp_port"].bind(("0.0.0.0", 0))
        self._sockets["udp_port"].setblocking(False)
        self._unix = {"abstract": _unix("\0" + self.mark), "path": _unix(str(self.folder / "socket"))}
        (self.folder / "socket").chmod(0o777)
        self._datagrams = [
            _datagrams("\0datagrams-" + self.mark),
            _datagrams(str(self.folder / "datagrams")),
        ]
        (self.folder / "datagrams").chmod(0o777)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._free_port = int(free.getsockname()[1])
        self._key = secrets.randbits(30) + 1
        self._segment = _libc.shmget(self._key, _SEGMENT, _IPC_CREATE | 0o666)
        self._queue = _libc.msgget(self._key, _IPC_CREATE | 0o666)
        self._shared = Path("/dev/shm", f"{NAME}-kept-{self.mark}")
        self._shared.write_text(self.secret)
        self._shared.chmod(0o666)
        self.values: dict[str, Any] = {
            "mark": self.mark,
            "secret": self.secret,
            "folder": str(self.folder),
            **{name: str(self.folder / name) for name in ("file", "victim", "link", "fifo", "script")},
            "database": str(self.folder / "data" / "thane.db"),
            "key_file": str(self.folder / "data" / "key"),
            "system_folder": system_folder,
            "pid": self._process.pid,
            "address": own_address(),
            **{name: made.getsockname()[1] for name, made in self._sockets.items()},
            "abstract": self.mark,
            "socket": str(self.folder / "socket"),
            "datagrams": str(self.folder / "datagrams"),
            "free_port": self._free_port,
            "shm_key": self._key,
            "shared": str(self._shared),
            "host_name": socket.gethostname(),
        }
        self._before = self._state()

    def _make_files(self) -> None:
        folder = self.folder
        folder.chmod(0o777)
        (folder / "file").write_text(self.secret)
        (folder / "file").chmod(0o666)
        (folder / "victim").touch(0o666)
        (folder / "link").symlink_to(f"target-{self.secret}")
        os.mkfifo(folder / "fifo")
        (folder / "fifo").chmod(0o666)
        (folder / "script").write_text(f"#!/bin/sh\necho REACHED {self.secret}\n")
        (folder / "script").chmod(0o755)
        (folder / "data").mkdir(0o700)
        for name in ("thane.db", "key"):
            (folder / "data" / name).write_text(self.secret)
            (folder / "data" / name).chmod(0o600)

    # -- is it as it was? -----------------------------------------------------------------

    def _state(self) -> dict[str, str]:
        """Everything that can be written down and compared."""
        state: dict[str, str] = {}
        for folder, folders, names in os.walk(self.folder):
            for name in (*folders, *names, "."):
                path = Path(folder, name)
                status = path.lstat()
                told = f"{status.st_mode:o} {status.st_uid} {status.st_nlink} {status.st_size}"
                if not path.is_dir():
                    told += f" {status.st_mtime_ns} {os.listxattr(path, follow_symlinks=False)}"
                if path.is_file():
                    told += f" {_read(str(path))}"
                state[f"the file {path.relative_to(self.folder)}"] = told
        state["the shared file"] = f"{_read(str(self._shared))} {self._shared.exists()}"
        state["the host's name"] = socket.gethostname()
        state["the core pattern"] = _read("/proc/sys/kernel/core_pattern")
        state["the mounts"] = self._mine("/proc/self/mountinfo")
        state["the keys"] = self._mine("/proc/keys")
        state["the segment"] = str(self._first_byte())
        state["the process"] = self._process_state()
        return state

    @staticmethod
    def _mine(path: str) -> str:
        return "\n".join(line for line in _read(path).splitlines() if NAME in line)

    def _first_byte(self) -> int:
        address = _libc.shmat(self._segment, None, 0)
        if address in (None, ctypes.c_void_p(-1).value):
            return -1
        value = ctypes.string_at(address, 1)[0]
        _libc.shmdt(ctypes.c_void_p(address))
        return value

    def _process_state(self) -> str:
        pid = self._process.pid
        if self._process.poll() is not None:
            return "ended"
        status = _read(f"/proc/{pid}/status")
        kept = [
            line for line in status.splitlines() if line.startswith(("Name", "TracerPid", "Uid", "Cpus_"))
        ]
        stopped = _read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0] in "Tt"
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        nice, score = os.getpriority(os.PRIO_PROCESS, pid), _read(f"/proc/{pid}/oom_score_adj")
        return f"{kept} stopped={stopped} {limits} nice={nice} oom={score.strip()}"

    def touched(self) -> list[str]:
        """What is not as it was, in words; empty if all is."""
        now = self._state()
        names = sorted(self._before.keys() | now.keys())
        found = [
            f"{name}: {self._before.get(name)!r} has become {now.get(name)!r}"
            for name in names
            if now.get(name) != self._before.get(name)
        ]
        for name, listener in (*self._sockets.items(), *self._unix.items()):
            try:
                if name == "udp_port":
                    reached = f"{listener.recv(64)!r}"
                else:
                    connection, _ = listener.accept()
                    connection.close()
                    reached = "a connection"
            except BlockingIOError:
                continue
            found.append(f"somebody reached the host's socket {name} ({reached})")
        for datagrams in self._datagrams:
            with contextlib.suppress(BlockingIOError):
                found.append(f"a datagram came to a Unix socket of the host: {datagrams.recv(64)!r}")
        if _libc.msgrcv(self._queue, ctypes.create_string_buffer(64), 8, 0, _NO_WAIT) >= 0:
            found.append("a message came into the host's queue")
        found += self.left_files()
        return found

    def left_files(self) -> list[str]:
        """Files that carry this canary's mark where a program could have put them."""
        found: list[str] = []
        for parent in ("/tmp", "/var/tmp", "/dev/shm", str(self.values["system_folder"])):
            left = Path(parent).glob(f"*{self.mark}*")
            found += [f"left {path}" for path in left if path != self._shared]
        return found

    def left_processes(self) -> list[int]:
        """Living processes that carry the mark, as all do that descend from a program."""
        wanted = f"THANE_HOSTILE={self.mark}".encode()
        found: list[int] = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def close(self) -> None:
        for listener in (*self._sockets.values(), *self._unix.values(), *self._datagrams):
            listener.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()
        _libc.shmctl(self._segment, _IPC_REMOVE, None)
        _libc.msgctl(self._queue, _IPC_REMOVE, None)
        self._shared.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


class Visitor:
    """Knocks at a port of the host until it is told to stop, as others would on a network."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._stop = threading.Event()
        self.reached = False
        self._thread = threading.Thread(target=self._knock)
        self._thread.start()

    def _knock(self) -> None:
        while not self._stop.wait(0.02):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
                self.reached = True

    def stop(self) -> bool:
        self._stop.set()
        self._thread.join()
        return self.reached
