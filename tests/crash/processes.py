"""Real processes for these tests: servers, the isolation programs behind them, and loads.

Whatever is started here is ended by `Processes.end`, which the fixture calls, whatever
happened. What is waited for is a condition, with a bound.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from tests.crash.load import Api
from tests.isolation.jailing import is_alive, program_pid, remains_of

T = TypeVar("T")
BOUND = 20.0  # seconds that any condition may take before a test says it does not come
# What an isolation program leaves its jails' uids from, and how many each program has (as root).
FIRST_UID = 0x70000000
UIDS_PER_PROGRAM = 1024
PROGRAMS = 1 << 17

_READY = re.compile(r"^thane is ready at (\S+) ", re.MULTILINE)
_LOAD = Path(__file__).with_name("load.py")


def wait_for(condition: Callable[[], T | None], what: str, bound: float = BOUND) -> T:
    """What `condition` returns once it is true."""
    deadline = time.monotonic() + bound
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {bound:g} s"
        time.sleep(0.005)
    return found


def thane(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    options.setdefault("timeout", 60)
    return subprocess.run(
        [sys.executable, "-m", "thane", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


class Server:
    """`thane serve` on a data folder, in a process group of its own."""

    def __init__(self, data: Path, log: Path, environment: Mapping[str, str]) -> None:
        self.data = data
        self._log = log
        self._from = log.stat().st_size if log.exists() else 0
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "thane", "serve", "--data", str(data), "--port", "0"],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_bytes()[self._from :].decode("utf-8", "replace")

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def ready(self) -> Server:
        """Wait until it says that it is."""
        wait_for(lambda: not self.is_running or _READY.search(self.log), "the server is ready")
        assert self.is_running, f"the server ended with {self.process.returncode}:\n{self.log}"
        return self

    @property
    def url(self) -> str:
        found = _READY.search(self.log)
        assert found is not None, f"it is not ready:\n{self.log}"
        return found[1]

    @property
    def key(self) -> str:
        return (self.data / "keys/local-key").read_text().strip()

    def api(self, timeout: float = 60.0) -> Api:
        return Api(self.url, self.key, timeout)

    def isolation_pid(self) -> int | None:
        """The pid of the isolation program on this folder's socket; None if nobody listens there."""
        return isolation_pid(self.data)

    def kill(self) -> None:
        """SIGKILL: the server, and nobody else of its group."""
        os.kill(self.pid, signal.SIGKILL)
        self.process.wait(BOUND)

    def terminate(self) -> None:
        """Ask it to stop; does not wait."""
        os.kill(self.pid, signal.SIGTERM)

    def stop(self, bound: float = 40.0) -> int:
        """Ask it to stop, and wait for its exit code."""
        self.terminate()
        return self.process.wait(bound)


def isolation_pid(data: Path) -> int | None:
    try:
        return program_pid(data / "isolation.sock")
    except OSError:
        return None


class Load:
    """`load.py` at work."""

    def __init__(self, server: Server, journal: Path, seed: str, workers: int = 6) -> None:
        self.journal = journal
        key = server.data / "keys/local-key"
        command = [sys.executable, str(_LOAD), "--url", server.url, "--key-file", str(key)]
        command += ["--journal", str(journal), "--seed", seed, "--workers", str(workers)]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def answered(self) -> int:
        """How many requests were answered so far."""
        try:
            return self.journal.read_bytes().count(b'"event": "answered"')
        except FileNotFoundError:
            return 0

    def stop(self) -> None:
        """Let it finish what it has asked for, and end."""
        if self.process.poll() is None:
            self.process.terminate()
        self.wait()

    def wait(self) -> None:
        """Until it has ended; it does when nobody answers."""
        assert self.process.wait(90) == 0, "the load failed"


def lines_of(journal: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in journal.read_bytes().splitlines()]


class Processes:
    """All that a test starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._servers: list[Server] = []
        self._loads: list[Load] = []
        self._folders: set[Path] = set()
        self._more: list[subprocess.Popen[Any]] = []

    def serve(self, data: Path, **settings: str) -> Server:
        """A server that starts; settings as environment variables without THANE_."""
        environment = {f"THANE_{name.upper()}": value for name, value in settings.items()}
        server = Server(data, self.folder / "server.log", environment)
        self._servers.append(server)
        self._folders.add(data)
        return server

    def load(self, server: Server, journal: Path, seed: str, workers: int = 6) -> Load:
        load = Load(server, journal, seed, workers)
        self._loads.append(load)
        return load

    def start(self, *arguments: str | Path, data: Path) -> subprocess.Popen[str]:
        """A `thane` command in the background."""
        process = subprocess.Popen(
            [sys.executable, "-m", "thane", *map(str, arguments), "--data", str(data)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._more.append(process)
        self._folders.add(data)
        return process

    def owns(self, data: Path) -> None:
        """End the isolation program of this folder too, at the end."""
        self._folders.add(data)

    def end(self) -> None:
        """Kill what still runs."""
        for process in [
            *(load.process for load in self._loads),
            *(s.process for s in self._servers),
            *self._more,
        ]:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
                process.wait(BOUND)
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        for data in self._folders:
            end_isolation(data)


def end_isolation(data: Path) -> None:
    """Stop the isolation program of a folder and see that nothing of it is left."""
    pid = isolation_pid(data)
    if pid is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not is_alive(pid), "the isolation program ends by SIGTERM")
    wait_for(lambda: not remains_of(pid), "nothing of it is left")


# -- what a dead server may not leave ------------------------------------------------------


@dataclass(frozen=True)
class Remains:
    """What is left of an isolation program's jails."""

    processes: tuple[str, ...]
    mounts: tuple[str, ...]
    groups: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.processes or self.mounts or self.groups)


def jails_of(program: int) -> Remains:
    """Processes, mounts and control groups of the jails of an isolation program, dead or alive."""
    return Remains(tuple(_jailed(program)), tuple(_mounts(program)), tuple(_groups(program)))


def _jailed(program: int) -> list[str]:
    """Descendants of the program, and every process that has one of its jails' uids.

    Its janitor and its zygote live as long as it does; the zygote of a dead program counts.
    """
    own = {"thane-janitor", "thane-zygote"} if Path(f"/proc/{program}").exists() else {"thane-janitor"}
    first = FIRST_UID + program % PROGRAMS * UIDS_PER_PROGRAM
    parents: dict[int, int] = {}
    names: dict[int, str] = {}
    foreign: set[int] = set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            head, _, tail = (entry / "stat").read_text().rpartition(")")
            uid = entry.stat().st_uid
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = tail.split()
        if fields[0] in "ZX":
            continue
        pid = int(entry.name)
        parents[pid], names[pid] = int(fields[1]), head.partition("(")[2]
        if first <= uid < first + UIDS_PER_PROGRAM:
            foreign.add(pid)
    level, found = {program}, set(foreign)
    while level:
        level = {pid for pid, parent in parents.items() if parent in level and names[pid] not in own}
        found |= level
    return [f"{pid} {names[pid]}" for pid in sorted(found) if names[pid] not in own]


def _mounts(program: int) -> list[str]:
    """Workspaces that are mounted, in the program's own namespace and in ours."""
    name = f"/thane-isolation-{program}-"
    found = []
    for table in (f"/proc/{program}/mounts", "/proc/self/mounts"):
        try:
            lines = Path(table).read_text().splitlines()
        except OSError:
            continue  # the program is gone, and its namespace with it
        points = [line.split()[1] for line in lines]
        found += [point for point in points if name in point and "/jobs/" in point]
    return found


def _groups(program: int) -> list[str]:
    """Control groups below the program's own."""
    name = f"thane-isolation-{program}-"
    found = []
    for folder, names, _ in os.walk("/sys/fs/cgroup"):
        if Path(folder).name.startswith(name):
            found += [f"{folder}/{entry}" for entry in names]
    return found


# -- programs that wait -----------------------------------------------------------------------

# Makes a file that says who it is, and waits for the file `go`: the test says when it goes on.
WAITS = """
import os, time
open('{name}', 'w').close()
print('{name} began', flush=True)
while not os.path.exists('go'):
    time.sleep(0.01)
print('{name} went on')
"""


def workspace_of(data: Path, name: str) -> Path | None:
    """The workspace of the program `WAITS` of that name, once it has begun."""
    program = isolation_pid(data)
    if program is None:
        return None
    for parent in ("tmp", "var/tmp", "dev/shm"):
        places = Path(f"/proc/{program}/root/{parent}").glob(f"thane-isolation-{program}-*/jobs/*/workspace")
        for place in places:
            if (place / name).exists():
                return place
    return None


def begun(data: Path, name: str) -> Path:
    """Wait until the program has begun; its workspace."""
    return wait_for(lambda: workspace_of(data, name), f"{name} begins")


def let_go(workspace: Path) -> None:
    (workspace / "go").touch()


class Background(Generic[T]):
    """A call in a thread of its own; `result` waits for it, and raises what it raised."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._made: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._made.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self._error = error

    @property
    def done(self) -> bool:
        return not self._thread.is_alive()

    def result(self, bound: float = 60.0) -> T:
        self._thread.join(bound)
        assert self.done, f"no end within {bound:g} s"
        if self._error is not None:
            raise self._error
        return self._made[0]
