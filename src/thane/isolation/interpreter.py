"""Where the interpreter lies, and exactly which paths of the host a jail may read.

The jail sees the system's programs and libraries, the interpreter's executable and its
standard library. It never sees installed packages (neither Thane's nor anybody's), the
virtual environment, or anything under the caller's home beyond the interpreter itself.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# Not /usr/local: that is where people install their own things, Thane among them.
_SYSTEM = tuple(
    f"/usr/{name}" for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "libexec", "share")
)
_ROOT_LINKS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")


@dataclass(frozen=True)
class Interpreter:
    """Paths as they are on the host. A jail shows them at the same place."""

    executable: str
    libraries: tuple[str, ...]  # folders with the shared library and the standard library
    inside_system: bool  # the executable is part of /usr proper: nothing more to bind

    @property
    def shell(self) -> str:
        return "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"


@dataclass(frozen=True)
class Visible:
    """What of the host a jail sees, looked up once: folders to read, and package folders in them to hide."""

    system: tuple[str, ...]
    links: tuple[tuple[str, str | None], ...]
    hidden: tuple[str, ...]


def look(interpreter: Interpreter) -> Visible:
    system = system_folders()
    hidden = tuple(package_folders((*system, *interpreter.libraries)))
    return Visible(system, tuple(root_links()), hidden)


def find() -> Interpreter:
    """The interpreter that runs this program, outside any virtual environment."""
    executable = os.path.realpath(getattr(sys, "_base_executable", sys.executable))
    inside_system = executable.startswith("/usr/") and not executable.startswith("/usr/local/")
    libraries: tuple[str, ...] = ()
    if not inside_system:
        prefix = os.path.realpath(sys.base_prefix)
        candidates = (os.path.join(prefix, name) for name in ("lib", "lib64"))
        libraries = tuple(path for path in candidates if os.path.isdir(path) and not os.path.islink(path))
    return Interpreter(executable, libraries, inside_system)


def system_folders() -> tuple[str, ...]:
    return tuple(path for path in _SYSTEM if os.path.isdir(path) and not os.path.islink(path))


def root_links() -> Iterator[tuple[str, str | None]]:
    """`(/lib, usr/lib)` where /lib is a link, `(/lib, None)` where it is a folder of its own."""
    for path in _ROOT_LINKS:
        if os.path.islink(path):
            yield path, os.readlink(path)
        elif os.path.isdir(path):
            yield path, None


def package_folders(folders: Iterable[str]) -> list[str]:
    """Folders of installed packages below `folders`: to be hidden."""
    found: list[str] = []
    for folder in folders:
        for name in ("site-packages", "dist-packages"):
            found += glob.glob(os.path.join(glob.escape(folder), "python3*", name))
    return sorted(path for path in found if os.path.isdir(path))


def expand_without(folder: str, hidden: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """`(path, whole)`: what together is `folder` without `hidden`. Landlock cannot take away again.

    A folder that is not `whole` may be listed (the interpreter lists its library's
    folder to import from it), and what may be read in it follows by itself.
    """
    inside = [path for path in hidden if path == folder or path.startswith(folder + "/")]
    if not inside:
        yield folder, True
        return
    if folder in inside:
        return
    yield folder, False
    for entry in sorted(os.listdir(folder)):
        yield from expand_without(os.path.join(folder, entry), inside)
