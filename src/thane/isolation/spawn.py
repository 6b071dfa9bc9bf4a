"""Start processes by fork, with what has to happen between fork and exec.

The isolation program has one thread, so the child may run Python before it execs. No
policy here: the caller says what the child does.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import NoReturn

from thane.isolation import libc

_SETUP_FAILED = 126


def _in_child(function: Callable[[], None]) -> NoReturn:
    code = _SETUP_FAILED
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        function()
        code = 0
    except BaseException:  # the child must never return into the program's loop
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)


def fork(function: Callable[[], None]) -> int:
    """A child that runs `function` and ends; 126 with a traceback on stderr if it raised."""
    pid = os.fork()
    if pid == 0:
        _in_child(function)
    return pid


def succeeds(function: Callable[[], None]) -> bool:
    """Whether `function` raises nothing in a child, whose error is not shown: this is a question."""

    def quietly() -> None:
        try:
            function()
        except OSError:
            os._exit(_SETUP_FAILED)

    _, status = os.waitpid(fork(quietly), 0)
    return os.waitstatus_to_exitcode(status) == 0


def reap(killed: Iterable[int]) -> None:
    """Reap processes that were killed and have become ours; others have reaped some of them already."""
    for pid in killed:
        try:
            os.waitpid(pid, 0)
        except ChildProcessError:
            continue


def die_with_parent(parent: int) -> None:
    """End by SIGKILL when `parent` does. Lost by a change of credentials: call it after that."""
    libc.prctl(libc.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(_SETUP_FAILED)


def take_identity(uid: int) -> None:
    """Become `uid`, with a group of the same number and no other."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def be_first_to_go() -> None:
    """When the host runs out of memory, its kernel should take a jail, not a server."""
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")


def close_all_but(kept: Iterable[int]) -> None:
    """Close every descriptor from 3 up except `kept`."""
    start = 3
    for descriptor in sorted(set(kept)):
        if descriptor < 3:
            continue
        os.closerange(start, descriptor)
        start = descriptor + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX"))
