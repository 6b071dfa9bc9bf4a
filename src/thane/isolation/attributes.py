"""Modes and times of files in tier T1, which Landlock does not guard: changed on a program's behalf.

An ordinary user's jail is that user, so by `chmod` or `utime` it could change every file of
his, by a path or by a descriptor that is open for reading. The filter therefore hands these
calls to the jail's supervisor, which finds the file itself, as the caller would, and changes
it if it lies in the workspace or in the temporary folder. What it has looked at is what it
changes: it holds the file open meanwhile, and takes nothing from the caller twice.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time
from collections.abc import Callable

from thane.isolation import libc, seccomp
from thane.isolation.syscalls import number

_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, thread, flags, call, architecture, address, arguments
_RESPONSE = struct.Struct("=QqiI")
_MOST_PATH = 4096
_AT_FDCWD, _AT_SYMLINK_NOFOLLOW, _AT_EMPTY_PATH = -100, 0x100, 0x1000
_NOW, _OMIT = 0x3FFFFFFF, 0x3FFFFFFE
_SECOND = 1_000_000_000
_DENIED = OSError(errno.EPERM, "not a file of the jail's own")

Times = tuple[int, int]  # of access and change, in nanoseconds since 1970


def _signed(value: int) -> int:
    return struct.unpack("=i", struct.pack("=I", value & 0xFFFFFFFF))[0]  # type: ignore[no-any-return]


class _Caller:
    """The thread that made the call: its memory, its folder, its descriptors."""

    def __init__(self, thread: int) -> None:
        self._proc = f"/proc/{thread}"

    def read(self, address: int, size: int) -> bytes:
        memory = os.open(f"{self._proc}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(memory, size, address)
        except (OSError, OverflowError) as error:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT)) from error
        finally:
            os.close(memory)

    def path(self, address: int) -> bytes:
        found, end, _ = self.read(address, _MOST_PATH).partition(b"\0")
        if not end:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        return found

    def descriptor(self, descriptor: int) -> int:
        """The same file, held open by us."""
        try:
            return os.open(f"{self._proc}/fd/{descriptor}", os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from error

    def file(self, folder: int, address: int, *, follow: bool, empty: bool = False) -> int:
        """The file that the caller means by this folder and this path, held open by us."""
        path = self.path(address)
        if not path:
            if empty and folder != _AT_FDCWD:
                return self.descriptor(folder)
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        flags = os.O_PATH | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        if path.startswith(b"/"):
            return os.open(path, flags)
        base = f"{self._proc}/cwd" if folder == _AT_FDCWD else f"{self._proc}/fd/{folder}"
        above = os.open(base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return os.open(path, flags, dir_fd=above)
        finally:
            os.close(above)


def _times(caller: _Caller, address: int, form: str, unit: int) -> list[int | None]:
    """Two times as the caller has written them; None: as it is. `unit`: nanoseconds of a fraction."""
    if not address:
        return [time.time_ns()] * 2
    fields = struct.unpack(form, caller.read(address, struct.calcsize(form)))
    if not unit:
        return [seconds * _SECOND for seconds in fields]
    found: list[int | None] = []
    for seconds, fraction in (fields[:2], fields[2:]):
        if unit == 1 and fraction in (_NOW, _OMIT):
            found.append(time.time_ns() if fraction == _NOW else None)
        elif 0 <= fraction * unit < _SECOND:
            found.append(seconds * _SECOND + fraction * unit)
        else:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return found


class Attendant:
    """Answers at `listener` for a jail whose own folders are `folders`. Owns the descriptor."""

    def __init__(self, listener: int, folders: tuple[str, ...]) -> None:
        self.listener = listener
        self._folders = tuple(os.path.realpath(folder) for folder in folders)
        machine = libc.machine()
        self._names = {number(name, machine): name for name in seccomp.ATTENDED}

    def answer(self) -> None:
        """Answer one call that waits. Nothing happens if its caller has gone."""
        received = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(self.listener, _RECEIVE, received)
        except (FileNotFoundError, InterruptedError):
            return
        identity, thread, _, call, _, _, *arguments = _NOTIFICATION.unpack(received)
        still_there = struct.pack("=Q", identity)

        def check() -> None:
            """The thread is the one that called, so what was read was read from it."""
            fcntl.ioctl(self.listener, _IS_VALID, still_there)

        try:
            self._change(_Caller(thread), self._names[call], arguments, check)
            error = 0
        except OSError as failure:
            error = -(failure.errno or errno.EPERM)
        try:
            fcntl.ioctl(self.listener, _SEND, _RESPONSE.pack(identity, 0, error, 0))
        except FileNotFoundError:
            return  # killed, or interrupted: then it calls again

    def _change(self, caller: _Caller, name: str, arguments: list[int], check: Callable[[], None]) -> None:
        file, change = self._understood(caller, name, arguments)
        try:
            check()
            path = os.readlink(f"/proc/self/fd/{file}")
            if not any(path == folder or path.startswith(f"{folder}/") for folder in self._folders):
                raise _DENIED
            change(file)
        finally:
            os.close(file)

    def _understood(
        self, caller: _Caller, name: str, arguments: list[int]
    ) -> tuple[int, Callable[[int], None]]:
        """The file, held open, and what is to be done with it."""
        first = _signed(arguments[0])
        if name in ("chmod", "fchmod", "fchmodat", "fchmodat2"):
            if name == "chmod":
                file, mode = caller.file(_AT_FDCWD, arguments[0], follow=True), arguments[1]
            elif name == "fchmod":
                file, mode = caller.descriptor(first), arguments[1]
            else:
                flags = arguments[3] if name == "fchmodat2" else 0
                file, mode = caller.file(first, arguments[1], **_flags(flags)), arguments[2]
            return file, lambda held: _set_mode(held, mode & 0o7777)
        if name == "utime":
            times = _times(caller, arguments[1], "=qq", 0)
            file = caller.file(_AT_FDCWD, arguments[0], follow=True)
        elif name == "utimes":
            times = _times(caller, arguments[1], "=qqqq", 1000)
            file = caller.file(_AT_FDCWD, arguments[0], follow=True)
        else:
            times = _times(caller, arguments[2], "=qqqq", 1 if name == "utimensat" else 1000)
            flags = arguments[3] if name == "utimensat" else 0
            if arguments[1]:
                file = caller.file(first, arguments[1], **_flags(flags))
            else:
                file = caller.descriptor(first)
        return file, lambda held: _set_times(held, times)


def _flags(flags: int) -> dict[str, bool]:
    return {"follow": not flags & _AT_SYMLINK_NOFOLLOW, "empty": bool(flags & _AT_EMPTY_PATH)}


def _set_mode(file: int, mode: int) -> None:
    if stat.S_ISLNK(os.fstat(file).st_mode):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    os.chmod(f"/proc/self/fd/{file}", mode)


def _set_times(file: int, times: list[int | None]) -> None:
    status = os.fstat(file)
    accessed, changed = times
    os.utime(
        f"/proc/self/fd/{file}",
        ns=(
            status.st_atime_ns if accessed is None else accessed,
            status.st_mtime_ns if changed is None else changed,
        ),
    )
