"""The registry as the program binds it, without a store."""

from __future__ import annotations

from thane.bootstrap.launcher import ProgramLauncher
from thane.kernel.operations.registry import Operations


def operations() -> Operations:
    """Every operation of the program."""
    return ProgramLauncher().operations()
