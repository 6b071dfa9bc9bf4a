"""Versions: of Thane, of what it is made of, and of the kernel below."""

from __future__ import annotations

import os
import platform
import re
from typing import Final

import apsw

from thane import __version__
from thane.kernel.ports.machine import Finding, Grade

AREA: Final = "versions"
# Landlock, clone3 and open_tree are what the weakest tier and the zygote are made of.
LEAST_KERNEL: Final = (5, 13)
# Contentless text indexes whose rows can be deleted, which search is made of.
LEAST_SQLITE: Final = (3, 43)


def versions() -> list[Finding]:
    """Look at everything that has one."""
    return [
        _finding("Thane", Grade.OK, __version__),
        _finding("Python", Grade.OK, platform.python_version()),
        sqlite(apsw.sqlite_lib_version(), apsw.apsw_version()),
        kernel(os.uname().sysname, os.uname().release),
    ]


def sqlite(library: str, binding: str) -> Finding:
    """Whether this SQLite has what the store needs."""
    detail = f"{library}, by apsw {binding}"
    if numbers(library) < LEAST_SQLITE:
        return _finding("SQLite", Grade.FAILURE, f"{detail}: too old", "uv sync")
    return _finding("SQLite", Grade.OK, detail)


def kernel(system: str, release: str) -> Finding:
    """Whether this kernel can isolate."""
    detail = f"{system} {release}"
    if system != "Linux":
        remedy = "use a Linux machine, or a virtual one"
        return _finding("kernel", Grade.FAILURE, f"{detail}: Linux is needed", remedy)
    if numbers(release) < LEAST_KERNEL:
        why = f"{detail}: before 5.13 it has no Landlock, and the weakest tier is missing"
        return _finding("kernel", Grade.WARNING, why, "sudo apt full-upgrade, and restart")
    return _finding("kernel", Grade.OK, detail)


def numbers(version: str) -> tuple[int, ...]:
    """`6.1.0-18-amd64` is (6, 1, 0)."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _finding(check: str, grade: Grade, detail: str, remedy: str = "") -> Finding:
    return Finding(area=AREA, check=check, grade=grade, detail=detail, remedy=remedy)
