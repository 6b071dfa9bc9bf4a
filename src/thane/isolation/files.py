"""Files of a living stateful sandbox, for callers outside: put, read, listed and removed.

The workspace is a hostile program's, which may be changing it at the same moment. Every
name goes through `check_name`, every path is resolved beneath the workspace without links.
"""

from __future__ import annotations

import os
import shutil
import stat

from thane.isolation import collection, deposit, opening
from thane.isolation.request import Refused, check_name
from thane.isolation.sandbox import Sandbox


def checked(name: str) -> str:
    problem = check_name(name)
    if problem is not None:
        raise Refused("invalid", f"the file {name!r}: {problem}")
    return name


def write(sandbox: Sandbox, name: str, content: bytes) -> None:
    """Put a file, in place of an older one. Raises Refused."""
    try:
        deposit.put(sandbox.jail.place.workspace, checked(name), content, sandbox.owner)
    except OSError as error:
        message = f"{name} ({len(content)} bytes) cannot be put into the workspace: {error.strerror}"
        hint = "Send less, remove files, rename it, or give the sandbox more disk."
        raise Refused("invalid", message, hint) from error


def find(sandbox: Sandbox, folder: str) -> collection.Found:
    """The files below `folder` (empty: the workspace), sorted. Raises Refused."""
    found = collection.scan(sandbox.jail.place.workspace, {}, sandbox.limits.disk_bytes)
    if folder:
        start = checked(folder.removesuffix("/")) + "/"
        found.files = [entry for entry in found.files if entry[0].startswith(start)]
        found.refused = [entry for entry in found.refused if entry[0].startswith(start)]
    return found


def open_to_read(sandbox: Sandbox, name: str) -> int:
    """A descriptor. Raises Refused."""
    try:
        return collection.open_file(sandbox.jail.place.workspace, checked(name), sandbox.limits.disk_bytes)
    except FileNotFoundError as error:
        raise Refused("not_found", f"the sandbox has no file {name}") from error
    except OSError as error:
        raise Refused("refused", f"{name} cannot be read: {error}") from error


def remove(sandbox: Sandbox, name: str) -> None:
    """Remove a file, or a folder with all that is in it. Raises Refused."""
    above, _, last = checked(name).rpartition("/")
    root = os.open(sandbox.jail.place.workspace, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        folder = opening.folder_beneath(root, os.fsencode(above) or b".")
        try:
            if stat.S_ISDIR(os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode):
                shutil.rmtree(last, dir_fd=folder)  # follows no link either
            else:
                os.unlink(last, dir_fd=folder)
        finally:
            os.close(folder)
    except FileNotFoundError as error:
        raise Refused("not_found", f"the sandbox has no file {name}") from error
    except (OSError, RecursionError) as error:  # the second if it is nested without end
        raise Refused("refused", f"{name} cannot be removed: {error}") from error
    finally:
        os.close(root)
