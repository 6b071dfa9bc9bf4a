"""Start the isolation program: `SOCKET [--slots N] [--stock N] [--idle S] [--force-tier T]`.

Everything that must happen before the first connection happens here, in an order that
matters: the lock, the broom for what a dead program left, the janitor, the namespaces,
and only then the event loop. The program must have one thread and an empty environment.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import sys
from pathlib import Path

from thane.isolation import broom, cgroups, claims, confined, gvisor, interpreter, janitor, libc, life, tiers
from thane.isolation.host import Host
from thane.isolation.jobs import Jobs
from thane.isolation.nursery import Nursery
from thane.isolation.probe import Probe
from thane.isolation.sandboxes import Sandboxes
from thane.isolation.stage import Stage

# Above every range that distributions and container managers hand out; each program takes a piece by its pid.
_FIRST_UID = 0x70000000
_UIDS_PER_PROGRAM = 1024
_PROGRAMS = 1 << 17
_MOST_SLOTS, _MOST_STOCK = 512, 64


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="thane.isolation", description=__doc__)
    parser.add_argument("socket", type=Path)
    parser.add_argument("--slots", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--jails-per-zygote", type=int, default=1000, help="then it is replaced")
    parser.add_argument(
        "--claim", type=float, default=60.0, help="seconds that sandboxes wait for their server"
    )
    parser.add_argument("--idle", type=float, default=10.0, help="seconds to wait after the last client")
    parser.add_argument("--stock", type=int, default=2, help="jails that are made ahead of their jobs")
    parser.add_argument("--force-tier", choices=tiers.KNOWN, help="for tests: use this tier or none")
    parser.add_argument("--runsc", help="where gVisor is; default: the usual places")
    arguments = parser.parse_args()
    if not 1 <= arguments.slots <= _MOST_SLOTS:
        parser.error(f"--slots must be from 1 to {_MOST_SLOTS}")
    if not 0 <= arguments.stock <= _MOST_STOCK:
        parser.error(f"--stock must be from 0 to {_MOST_STOCK}")
    return arguments


def _scratch(name: str) -> str:
    """A new folder that others may pass through. What dead programs left beside it is removed."""
    for parent in ("/tmp", "/var/tmp", "/dev/shm"):
        if os.path.isdir(parent) and os.access(parent, os.W_OK | os.X_OK):
            _sweep(parent)
            claims.make(f"{parent}/{name}")
            return f"{parent}/{name}"
    raise SystemExit("no writable /tmp, /var/tmp or /dev/shm: the isolation program needs one")


def _sweep(parent: str) -> None:
    for folder in claims.left_over(parent):
        if os.stat(folder).st_uid == os.getuid():
            try:
                broom.remove_tree(folder)
            except OSError as error:  # another starter is at it too, or it is not ours to remove
                sys.stderr.write(f"{folder}, left by a dead program, stays: {error}\n")


def _prepare(arguments: argparse.Namespace) -> Host:
    as_root = os.getuid() == 0
    name = claims.name_of_this_program()
    found = cgroups.find(name, as_root=as_root)
    groups = None if isinstance(found, str) else found
    if groups is not None:
        cgroups.clear_left_over(groups)
    scratch = _scratch(name)
    janitor.start(groups.folders if groups else (), scratch)
    processors = sorted(os.sched_getaffinity(0))
    stage = Stage(scratch, as_root=as_root)
    python = interpreter.find()
    host = Host(
        stage=stage,
        interpreter=python,
        shown=stage.show_interpreter(python),
        groups=groups,
        groups_missing="" if groups else str(found),
        uid_base=_FIRST_UID + (os.getpid() % _PROGRAMS) * _UIDS_PER_PROGRAM if as_root else None,
        uids=_UIDS_PER_PROGRAM,
        processors=processors,
        force_tier=arguments.force_tier,
        runsc=arguments.runsc or gvisor.find(),
    )
    host.confinement = confined.allowed(host)
    return host


async def _serve(arguments: argparse.Namespace, host: Host) -> None:
    listener = life.listen(arguments.socket)
    # Jails lose the process that forked them at once: they are to become our own children.
    libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)
    nursery = Nursery(host, arguments.stock, arguments.jails_per_zygote)
    probe = Probe(host, nursery)
    sandboxes = Sandboxes(host, nursery, arguments.claim)
    jobs = Jobs(host, nursery, probe, sandboxes, arguments.slots)
    in_user_namespace = host.stage.mounted and not host.stage.as_root
    program = life.Life(
        arguments.socket,
        jobs,
        sandboxes,
        probe,
        nursery,
        idle=arguments.idle,
        in_user_namespace=in_user_namespace,
    )
    await program.live(listener)
    await nursery.end()


def main() -> None:
    arguments = _arguments()
    os.umask(0o022)
    libc.set_process_name("thane-isolation")
    lock = life.take_lock(arguments.socket)
    if lock is None:
        return
    if os.getsid(0) != os.getpid():
        os.setsid()
    # A jail of an ordinary user's fills the user's count of descriptors on their way up to its own limit.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(_serve(arguments, _prepare(arguments)))
    sys.stderr.flush()


if __name__ == "__main__":
    main()
