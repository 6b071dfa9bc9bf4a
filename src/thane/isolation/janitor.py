"""A small child that outlives the program by a moment and removes what it left.

It waits on a pipe that only the program holds open. When the program ends, however it
ends, the janitor kills what is left in its control groups and removes them and the
stage's folder. The jails themselves die with the program; this is the broom behind it.
"""

from __future__ import annotations

import os
import signal
import time

from thane.isolation import broom, cgroups, libc, spawn

_PATIENCE = 4.0
_PAUSE = 0.02


def sweep(folders: list[str], stage: str) -> None:
    """Remove control groups and the stage's folder; returns when done or after a few seconds."""
    deadline = time.monotonic() + _PATIENCE
    waiting = folders
    while waiting and time.monotonic() < deadline:
        waiting = [folder for folder in waiting if not cgroups.clear(folder)]
        if waiting:
            time.sleep(_PAUSE)
    # A jail without namespaces may still be dying and make files meanwhile.
    while os.path.exists(stage) and time.monotonic() < deadline:
        try:
            broom.remove_tree(stage)
        except OSError:
            time.sleep(_PAUSE)


def start(folders: tuple[str, ...], stage: str) -> None:
    """Fork the janitor. Called once, before the program takes namespaces or descriptors of its own."""
    alive_read, alive_write = os.pipe()

    def work() -> None:
        os.close(alive_write)
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        spawn.close_all_but([alive_read])
        libc.set_process_name("thane-janitor")
        os.chdir("/")
        os.read(alive_read, 1)
        sweep(list(folders), stage)

    spawn.fork(work)
    os.close(alive_read)
    # alive_write stays open in the program, on purpose, until the program ends.
