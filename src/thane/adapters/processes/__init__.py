"""Processes of Python's own that do pieces of work for this one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

__all__ = ["processes"]


def processes(count: int, begin: Callable[..., None], arguments: tuple[Any, ...]) -> Executor:
    """So many, each of which runs `begin` first. Fresh ones: this process has threads and open files."""
    return ProcessPoolExecutor(count, get_context("spawn"), begin, arguments)
