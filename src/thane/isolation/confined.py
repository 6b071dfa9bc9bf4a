"""Tier T1: a child confined by Landlock, seccomp and resource limits, in the host's namespaces.

A supervisor, forked from the program and trusted, becomes the parent of everything the
child leaves behind (subreaper), so that all of it can be found and killed. The child
confines itself before it execs the interpreter, so nothing of the program's memory is
in it. Signals to it come from outside its Landlock domain, which Landlock allows.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace

from thane.isolation import interpreter, jailed, landlock, libc, seccomp, spawn, tiers, watchdog
from thane.isolation.attributes import Attendant
from thane.isolation.host import Host
from thane.isolation.stage import Place

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/alternatives")


def allowed(host: Host) -> tuple[list[str], list[str]]:
    """Every path that any confined child may read and execute, and every folder that it may only list."""
    folders = [*host.visible.system]
    folders += [path for path, link in host.visible.links if link is None]
    folders += [host.shown[path] for path in host.interpreter.libraries]
    hidden = interpreter.package_folders(folders)
    found = [entry for folder in folders for entry in interpreter.expand_without(folder, hidden)]
    executable = host.shown.get(host.interpreter.executable, host.interpreter.executable)
    readable = [path for path, whole in found if whole]
    readable += [executable, host.stage.boot, *_SYSTEM_FILES]
    return readable, [path for path, whole in found if not whole]


def environment(host: Host) -> dict[str, str]:
    """For the interpreter's start only: where its shared library is, if it was moved for a jail's uid."""
    libraries = [host.shown[path] for path in host.interpreter.libraries]
    found = {"LANG": "C.UTF-8"}
    if libraries and libraries != list(host.interpreter.libraries):
        found["LD_LIBRARY_PATH"] = ":".join(libraries)
    return found


def _filter(listeners: socket.socket) -> None:
    """Install the filter, and hand its listener to the supervisor."""
    rules = tiers.rules(tiers.T1)
    try:
        listener = seccomp.install_with_listener(seccomp.build(rules))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # We run in somebody's container that attends to calls itself: then these are denied.
        seccomp.install(seccomp.build(replace(rules, attended=False)))
    else:
        socket.send_fds(listeners, [b"listener"], [listener])
        os.close(listener)
    listeners.close()


def _attendant(listeners: socket.socket, place: Place, uid: int | None) -> Attendant | None:
    """Who answers the jail's calls; None if the filter asks nobody, or if the child has failed."""
    with listeners:
        _, descriptors, _, _ = socket.recv_fds(listeners, 16, 1)
    if not descriptors:
        return None
    if uid is not None:
        libc.act_on_files_as(uid)
    return Attendant(descriptors[0], (place.workspace, place.tmp))


def _confine_and_run(host: Host, place: Place, uid: int | None, spec: int, listeners: socket.socket) -> None:
    parent = os.getppid()
    os.setsid()
    readable, listable = host.confinement
    ruleset = landlock.make_ruleset(
        readable=[*readable, place.code],
        listable=listable,
        writable=(place.workspace, place.tmp),
        devices=_DEVICES,
    )
    if uid is not None:
        spawn.take_identity(uid)
    spawn.die_with_parent(parent)
    landlock.restrict(ruleset)
    _filter(listeners)
    executable = host.shown.get(host.interpreter.executable, host.interpreter.executable)
    # Isolated, without installed packages, unbuffered, writing no byte code.
    command = [executable, "-I", "-S", "-u", "-B", host.stage.boot, str(spec)]
    os.execve(executable, command, environment(host))


def _kill_descendants(uid: int | None) -> Callable[[], None]:
    """How the supervisor ends everything below it. Stopped first, so that nobody forks away meanwhile."""

    def as_that_user() -> None:
        assert uid is not None
        spawn.take_identity(uid)
        os.kill(-1, signal.SIGKILL)

    def kill() -> None:
        if uid is not None and uid != os.getuid():
            # One call that the kernel carries out for all processes of the uid at once.
            os.waitpid(spawn.fork(lambda: _ignoring_nobody(as_that_user)), 0)
            return
        me = os.getpid()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in watchdog.descendants(me):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue

    return kill


def _ignoring_nobody(action: Callable[[], None]) -> None:
    try:
        action()
    except ProcessLookupError:
        return  # nobody of that uid is left


def supervise(host: Host, place: Place, *, uid: int | None, spec: int, kept: dict[str, int]) -> None:
    """The supervisor's whole life, in a fork of the program. `kept` are status, control and the streams."""
    os.setsid()
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    libc.set_process_name("thane-supervisor")
    spawn.close_all_but([spec, *kept.values()])
    status, control = kept["status"], kept["control"]
    ours, theirs = socket.socketpair()

    def child() -> None:
        os.close(control)
        ours.close()
        # The interpreter says `started` and closes `status` before it runs the program.
        for name in ("stdin", "stdout", "stderr", "status"):
            os.set_inheritable(kept[name], True)
        os.set_inheritable(spec, True)
        _confine_and_run(host, place, uid, spec, theirs)

    pid = spawn.fork(child)
    for descriptor in (kept["stdin"], kept["stdout"], kept["stderr"]):
        os.close(descriptor)
    theirs.close()
    attendant = _attendant(ours, place, uid)
    attended = None if attendant is None else (attendant.listener, attendant.answer)
    jailed.supervise(pid, control, status, _kill_descendants(uid), _nothing, attended)
    # The kernel may still be tearing down what was killed; nothing may outlive us.
    deadline = time.monotonic() + 2
    while watchdog.descendants(os.getpid()) and time.monotonic() < deadline:
        time.sleep(0.005)


def _nothing() -> None:
    return
