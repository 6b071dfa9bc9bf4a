"""Control groups: version 2 where it is delegated or we are root, version 1 as root, or none.

One group for the program, held as `claims` says, so that the next one can tell a dead
program's groups and remove them; below it one per job. Nothing outside the program's own
group is ever changed, except that version 2 needs its controllers switched on in the parent.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from thane.isolation import claims

NEEDED = ("memory", "pids", "cpu")
_PERIOD_US = 100_000
# The jail's first process lives in the group too.
_OWN_PROCESSES = 1
_PATIENCE = 5.0
_TCP_LIMIT, _TCP_USAGE = "memory.kmem.tcp.limit_in_bytes", "memory.kmem.tcp.usage_in_bytes"
_TCP_SHARE = 4
_WHILE_MADE = 8  # processes, before the group has its limits


@dataclass(frozen=True)
class GroupLimits:
    memory_bytes: int
    cpu_millicores: int
    processes: int


class Group(Protocol):
    """One job's group."""

    def entries(self) -> list[str]:
        """Files to write a pid to (0: the writer) that moves it in."""

    def limit(self, limits: GroupLimits) -> None:
        """Set or change the limits. A new group has none but a small one on processes."""

    def memory_now(self) -> int: ...

    def peak_memory(self) -> int: ...

    def cpu_us(self) -> int: ...

    def oom_kills(self) -> int: ...

    def lift_cpu(self) -> None:
        """Take the CPU quota away, so that dying does not take its turn under it."""

    def remove(self) -> bool:
        """Remove it; False while the kernel still counts somebody in it."""


class Groups(Protocol):
    kind: str  # `cgroup2` or `cgroup1`
    folders: tuple[str, ...]  # the program's own group, in each hierarchy

    def create(self, name: str) -> Group: ...


def _read(path: Path) -> str:
    return path.read_text()


def _number(path: Path) -> int:
    return int(_read(path))


def _fields(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in _read(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def _remove_folder(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.ENOTEMPTY):
            return False
        raise
    return True


class GroupV2:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "pids.max").write_text(str(_WHILE_MADE))
        (folder / "memory.oom.group").write_text("1")

    def limit(self, limits: GroupLimits) -> None:
        folder = self.folder
        (folder / "memory.max").write_text(str(limits.memory_bytes))
        if (folder / "memory.swap.max").exists():
            (folder / "memory.swap.max").write_text("0")
        (folder / "pids.max").write_text(str(limits.processes + _OWN_PROCESSES))
        (folder / "cpu.max").write_text(f"{limits.cpu_millicores * _PERIOD_US // 1000} {_PERIOD_US}")

    def entries(self) -> list[str]:
        return [str(self.folder / "cgroup.procs")]

    def memory_now(self) -> int:
        return _number(self.folder / "memory.current")

    def peak_memory(self) -> int:
        # memory.peak is there from Linux 5.19 on; before that the caller's own samples count.
        peak = self.folder / "memory.peak"
        return _number(peak) if peak.exists() else self.memory_now()

    def cpu_us(self) -> int:
        return _fields(self.folder / "cpu.stat")["usage_usec"]

    def oom_kills(self) -> int:
        return _fields(self.folder / "memory.events").get("oom_kill", 0)

    def lift_cpu(self) -> None:
        (self.folder / "cpu.max").write_text(f"max {_PERIOD_US}")

    def remove(self) -> bool:
        return _remove_folder(self.folder)


class GroupsV2:
    kind = "cgroup2"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folders: tuple[str, ...] = (str(folder),)

    def create(self, name: str) -> Group:
        return GroupV2(self.folder / name)


class GroupV1:
    def __init__(self, folders: dict[str, Path]) -> None:
        self.folders = folders
        for folder in set(folders.values()):
            folder.mkdir()
        (folders["pids"] / "pids.max").write_text(str(_WHILE_MADE))

    def limit(self, limits: GroupLimits) -> None:
        folders, memory = self.folders, self.folders["memory"]
        plain, swap = memory / "memory.limit_in_bytes", memory / "memory.memsw.limit_in_bytes"
        if swap.exists():
            # The limit with swap may never be below the one without.
            raised = limits.memory_bytes > _number(plain)
            for file in (swap, plain) if raised else (plain, swap):
                file.write_text(str(limits.memory_bytes))
        else:
            plain.write_text(str(limits.memory_bytes))
            (memory / "memory.swappiness").write_text("0")
        # Buffers of network sockets come on top here, and are counted only once they have a limit.
        if (memory / _TCP_LIMIT).exists():
            (memory / _TCP_LIMIT).write_text(str(limits.memory_bytes // _TCP_SHARE))
        (folders["pids"] / "pids.max").write_text(str(limits.processes + _OWN_PROCESSES))
        (folders["cpu"] / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (folders["cpu"] / "cpu.cfs_quota_us").write_text(str(limits.cpu_millicores * _PERIOD_US // 1000))

    def entries(self) -> list[str]:
        return [str(folder / "cgroup.procs") for folder in set(self.folders.values())]

    def memory_now(self) -> int:
        memory = self.folders["memory"]
        sockets = _number(memory / _TCP_USAGE) if (memory / _TCP_USAGE).exists() else 0
        return _number(memory / "memory.usage_in_bytes") + sockets

    def peak_memory(self) -> int:
        return _number(self.folders["memory"] / "memory.max_usage_in_bytes")

    def cpu_us(self) -> int:
        return _number(self.folders["cpuacct"] / "cpuacct.usage") // 1000

    def oom_kills(self) -> int:
        return _fields(self.folders["memory"] / "memory.oom_control").get("oom_kill", 0)

    def lift_cpu(self) -> None:
        (self.folders["cpu"] / "cpu.cfs_quota_us").write_text("-1")

    def remove(self) -> bool:
        removed = [_remove_folder(folder) for folder in set(self.folders.values())]
        return all(removed)


class GroupsV1:
    kind = "cgroup1"

    def __init__(self, folders: dict[str, Path]) -> None:
        self.by_controller = folders
        self.folders = tuple(sorted({str(folder) for folder in folders.values()}))

    def create(self, name: str) -> Group:
        return GroupV1({key: folder / name for key, folder in self.by_controller.items()})


# -- finding ---------------------------------------------------------------------------


def _mounts(proc: Path) -> tuple[Path | None, dict[str, Path]]:
    """The version 2 mount, and version 1's mount per controller."""
    unified: Path | None = None
    controllers: dict[str, Path] = {}
    for line in _read(proc / "self/mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        point = Path(before.split()[4])
        if kind == "cgroup2" and unified is None:
            unified = point
        elif kind == "cgroup":
            for option in options.split(","):
                controllers.setdefault(option, point)
    return unified, controllers


def _own_paths(proc: Path) -> dict[str, str]:
    """This process's group per controller; the empty name is version 2's."""
    paths: dict[str, str] = {}
    for line in _read(proc / "self/cgroup").splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(","):
            paths[name] = path
    return paths


def _below(mount: Path, path: str) -> Path:
    """Our group's folder; the mount itself where a container shows another path than it mounts."""
    folder = mount / path.lstrip("/")
    return folder if folder.is_dir() else mount


def _switch_on(parent: Path, *, may_move: bool) -> None:
    """Give the children of `parent` the controllers. Raises OSError if they are not ours to give."""
    control = parent / "cgroup.subtree_control"
    missing = [name for name in NEEDED if name not in _read(control).split()]
    if not missing:
        return
    wanted = " ".join(f"+{name}" for name in missing)
    try:
        control.write_text(wanted)
    except OSError as error:
        if error.errno != errno.EBUSY or not may_move:
            raise
        # A group with processes of its own cannot have controlled children: a delegated
        # group's processes move into a leaf first.
        leaf = parent / f"{claims.NAME}-host"
        leaf.mkdir(exist_ok=True)
        for pid in _read(parent / "cgroup.procs").split():
            (leaf / "cgroup.procs").write_text(pid)
        control.write_text(wanted)


def _try_v2(unified: Path, own: str, name: str, *, as_root: bool) -> Groups | str:
    parent = unified if as_root else _below(unified, own)
    try:
        offered = _read(parent / "cgroup.controllers").split()
        lacking = [controller for controller in NEEDED if controller not in offered]
        if lacking:
            return f"{parent} offers no controller {', '.join(lacking)}"
        _switch_on(parent, may_move=not as_root)
        folder = parent / name
        claims.make(str(folder))
        _switch_on(folder, may_move=False)
    except OSError as error:
        return f"{parent} is not delegated to this user ({error.strerror})"
    return GroupsV2(folder)


def _try_v1(mounts: dict[str, Path], own: dict[str, str], name: str) -> Groups | str:
    wanted = (*NEEDED, "cpuacct")
    lacking = [controller for controller in wanted if controller not in mounts]
    if lacking:
        return f"cgroup version 1 has no {', '.join(lacking)} mounted"
    folders = {key: _below(mounts[key], own.get(key, "/")) / name for key in wanted}
    try:
        for folder in set(folders.values()):
            claims.make(str(folder))
    except OSError as error:
        return f"cgroup version 1 cannot be written ({error.strerror})"
    return GroupsV1(folders)


def find(name: str, *, as_root: bool, proc: Path = Path("/proc")) -> Groups | str:
    """The program's own group, made; or why there is none. `name` is `claims.name_of_this_program()`."""
    unified, controllers = _mounts(proc)
    own = _own_paths(proc)
    reasons: list[str] = []
    if unified is not None:
        found = _try_v2(unified, own.get("", "/"), name, as_root=as_root)
        if not isinstance(found, str):
            return found
        reasons.append(found)
    if as_root and controllers:
        found = _try_v1(controllers, own, name)
        if not isinstance(found, str):
            return found
        reasons.append(found)
    return "; ".join(reasons) or "no cgroup file system is mounted"


# -- remains ---------------------------------------------------------------------------


def clear(folder: str) -> bool:
    """Kill everything in a group and below, and remove it. False while something is still dying."""
    done = True
    for path, _, _ in os.walk(folder, topdown=False):
        try:
            pids = (Path(path) / "cgroup.procs").read_text().split()
        except OSError:
            continue  # removed between two looks
        _kill_all(pids)
        done = _remove_folder(Path(path)) and done
    return done


def _kill_all(pids: Iterable[str]) -> None:
    for pid in pids:
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            continue


async def remove_soon(group: Group) -> None:
    """Remove it; the kernel lets a group go a moment after its last process."""
    deadline = time.monotonic() + _PATIENCE
    pause = 0.001
    while not group.remove() and time.monotonic() < deadline:
        await asyncio.sleep(pause)
        pause = min(0.1, pause * 2)


def clear_left_over(groups: Groups) -> None:
    """Remove the groups that dead programs have left beside ours."""
    for own in groups.folders:
        for folder in claims.left_over(os.path.dirname(own)):
            clear(folder)
