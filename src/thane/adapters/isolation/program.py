"""Start the isolation program: by exec, with an empty environment, detached from the caller.

Finds the interpreter and the folder it can be imported from. Whether it is needed and what is said
to it is the client's affair.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import thane

# The program's own folder comes last in the path: nothing beside Thane may stand before the standard library.
_START = "import sys; sys.path.append(sys.argv.pop(1)); from thane.isolation.__main__ import main; main()"
_LONGEST_PATH = 107


def launch(socket_path: Path, log_path: Path, slots: int, more: tuple[str, ...]) -> None:
    """Start it and return at once; the caller connects when it listens. Errors are in the log."""
    executable = getattr(sys, "_base_executable", sys.executable)
    package_file = thane.__file__
    assert package_file is not None, "thane is a package with an __init__.py"
    command = [executable, "-I", "-S", "-c", _START, str(Path(package_file).parent.parent)]
    command += [str(socket_path), "--slots", str(slots), *more]
    with open(log_path, "ab", opener=_private) as log:
        process = subprocess.Popen(
            command,
            env={},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
        )
    # It outlives us, and when it ends before us somebody must reap it: the next launch does.
    _children.append(process)
    _children[:] = [child for child in _children if child.poll() is None]


_children: list[subprocess.Popen[bytes]] = []


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def connect(path: Path) -> socket.socket | None:
    """A connected socket, or None when nobody listens there."""
    folder: int | None = None
    address = str(path)
    if len(os.fsencode(path)) > _LONGEST_PATH:
        try:
            folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        address = f"/proc/self/fd/{folder}/{path.name}"
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(address)
    except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
        connection.close()
        return None
    except OSError:
        connection.close()
        raise
    finally:
        if folder is not None:
            os.close(folder)
    connection.setblocking(False)
    return connection
