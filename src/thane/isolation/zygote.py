"""The zygote: a warm interpreter that makes each jail by forking itself.

Started by the isolation program with exec and an environment that holds nothing but the
language, so neither a key nor a client's bytes can be in its memory. It imports the
standard library and its own few modules, builds the root that its jails share, and then
answers each order on its channel with a fork. It knows no job, no limit and no client,
and never runs anything untrusted. It ends when its channel closes.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import gc
import json
import linecache
import marshal
import os
import re
import signal
import site
import socket
import sys
import threading
import traceback
import types
from typing import NoReturn

from thane.isolation import birth, libc, root, spawn

# What nearly every program needs first; nothing with a state that must differ between jails (`random`).
_WARM = (collections, contextlib, functools, json, linecache, re, site, threading, traceback, types)
_MOST_ORDER = 1 << 16
_MOST_DESCRIPTORS = 32


def _enter(channel: socket.socket, plan: root.Plan, *, mapped: bool) -> None:
    """Build the root and take a user namespace. `mapped`: the isolation program, as root, writes the maps."""
    if mapped:
        libc.unshare(libc.CLONE_NEWNS)
        root.build(plan)
        libc.unshare(libc.CLONE_NEWUSER | libc.CLONE_NEWNS)
        channel.send(b"map")
        if channel.recv(16) != b"mapped":
            raise SystemExit("the isolation program has not mapped the zygote's users")
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        return
    uid, gid = os.getuid(), os.getgid()
    libc.unshare(libc.CLONE_NEWUSER | libc.CLONE_NEWNS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    root.build(plan)


def _end() -> NoReturn:
    """Once the midwives have ended: the isolation program would inherit those that outlive us, unaware."""
    with contextlib.suppress(ChildProcessError):
        os.wait()  # with SIGCHLD ignored it returns when no child is left, and reports none
    os._exit(0)


def _in_child(order: birth.Order) -> birth.Program:
    try:
        return birth.midwife(order)
    except BaseException:  # a failed birth must never return into the zygote's loop
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(126)


def _serve(channel: socket.socket) -> birth.Program:
    """Answer orders until the channel closes. Returns in each program's process only."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, _MOST_ORDER, _MOST_DESCRIPTORS)
        if not message:
            _end()
        order = birth.Order.parse(message, descriptors)
        if os.fork() == 0:
            return _in_child(order)
        for descriptor in descriptors:
            os.close(descriptor)


def main(said: dict[str, object], channel: int) -> birth.Program:
    """The zygote's whole life; what it returns, in a program's process, is the program."""
    libc.set_process_name("thane-zygote")
    connection = socket.socket(fileno=channel)
    parent = os.getppid()
    _enter(connection, root.Plan(**said["root"]), mapped=bool(said["mapped"]))  # type: ignore[arg-type]
    spawn.die_with_parent(parent)
    libc.prctl(libc.PR_SET_DUMPABLE, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.disable()
    gc.collect()
    gc.freeze()
    connection.send(b"ready")
    return _serve(connection)


def start_text() -> str:
    """What the interpreter is told to run; the plan, with the host's paths, comes through a descriptor."""
    return (
        "import marshal, sys\n"
        "with open(int(sys.argv[1]), 'rb') as file: said = marshal.loads(file.read())\n"
        "sys.path.append(said['source'])\n"
        "from thane.isolation.zygote import main\n"
        "main(said, int(sys.argv[2]))()\n"
    )


def plan_of(said: root.Plan, source: str, *, mapped: bool) -> bytes:
    return marshal.dumps({"root": dict(vars(said)), "source": source, "mapped": mapped})
