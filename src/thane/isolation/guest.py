"""Tier T3: a program under gVisor, whose kernel is not the host's, inside namespaces of its own.

Three processes around one `runsc`: the *keeper*, our child, joins the job's control group,
builds the root, gives up its rights and waits; the *first process*, process 1 of a new
process namespace, is trusted: it says when the program started, ends everything and
reports; the *runner* execs runsc and ends as the guest's program ended. All of them and
all of runsc run as the jail's uid, which is root in there only. runsc confines its own
processes (seccomp, an empty root) before the program starts.
"""

from __future__ import annotations

import marshal
import os
import resource
import select
from dataclasses import replace
from pathlib import Path

from thane.isolation import gvisor, jailed, launch, libc, nursery, root, spawn, tiers
from thane.isolation.cgroups import Group
from thane.isolation.host import Host
from thane.isolation.request import Request
from thane.isolation.stage import Place

_NAMESPACES = (
    libc.CLONE_NEWUSER
    | libc.CLONE_NEWNS
    | libc.CLONE_NEWUTS
    | libc.CLONE_NEWIPC
    | libc.CLONE_NEWPID
    | libc.CLONE_NEWNET
    | libc.CLONE_NEWCGROUP
)
_SAFE = libc.MS_NOSUID | libc.MS_NODEV
_RUN_SIZE = "size=4m"  # runsc's state and logs; a guest can make it log, so it is bounded
_LOOK_MS = 2
_TOP_OWN = ("dev", "proc", "run", "tmp", "workspace")
STREAMS = ("stdin", "stdout", "stderr", "status", "control")


def start(host: Host, request: Request, place: Place, slot: int, group: Group | None) -> launch.Launched:
    """Fork the keeper. The job's code and input files are in `place` already."""
    runsc = host.runsc
    assert runsc is not None, "the probe has found it"
    said = marshal.dumps(launch.plan(host, request, tiers.T3, place, slot))
    Path(place.code, os.path.basename(jailed.GUEST_PLAN)).write_bytes(said)
    pipes = {name: os.pipe() for name in ("stdout", "stderr", "status", "control", "diagnostics")}
    control_read, control_write = pipes.pop("control")
    theirs = {name: ends[1] for name, ends in pipes.items()}
    theirs |= {"control": control_read, "stdin": launch.standard_input(request)}
    ours = {name: ends[0] for name, ends in pipes.items()}
    entries = [os.open(path, os.O_WRONLY) for path in (group.entries() if group is not None else [])]
    processors = (
        launch.affinity(host.processors, request.limits.cpu_millicores, slot) if group is None else set()
    )

    def keeper() -> None:
        os.dup2(theirs["diagnostics"], 2)  # first: from here on a failure has somebody to tell it to
        kept = {name: theirs[name] for name in STREAMS}
        spawn.close_all_but([*kept.values(), *entries])
        _keep(host, place, uid=host.uid(slot), entries=entries, processors=processors, kept=kept, runsc=runsc)

    pid = spawn.fork(keeper)
    pidfd = os.pidfd_open(pid)
    for descriptor in (*theirs.values(), *entries):
        os.close(descriptor)
    return launch.Launched(pid, pidfd, control=control_write, **ours)


def _keep(
    host: Host,
    place: Place,
    *,
    uid: int | None,
    entries: list[int],
    processors: set[int],
    kept: dict[str, int],
    runsc: str,
) -> None:
    """The keeper's whole life."""
    os.setsid()
    libc.set_process_name("thane-keeper")
    for entry in entries:
        os.write(entry, b"0")
        os.close(entry)
    if processors:
        os.sched_setaffinity(0, processors)
    spawn.be_first_to_go()
    _build(host, place, uid, runsc)
    _give_up_rights(uid)
    first = spawn.fork(lambda: _first_process(kept, runsc))
    for descriptor in kept.values():
        os.close(descriptor)
    _, status = os.waitpid(first, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(128 - code if code < 0 else code)


def _build(host: Host, place: Place, uid: int | None, runsc: str) -> None:
    """The same root that the other jails have; in it, in memory, the guest's and runsc's own folders."""
    boot = Path(host.stage.boot).read_bytes()
    libc.unshare(libc.CLONE_NEWNS)
    trees = [libc.clone_tree(path) for path in (*place.writable, place.code)]
    plan = nursery.root_plan(host)
    if not any(runsc.startswith(folder + "/") for folder in plan.folders):
        plan = replace(plan, files=(*plan.files, runsc))
    root.build(plan)
    owner = f",uid={uid},gid={uid}" if uid is not None else ""
    # Without nosuid and nodev: runsc binds what lies in it anew, and may not take such flags away.
    libc.mount("tmpfs", gvisor.RUN, "tmpfs", 0, f"mode=755,{_RUN_SIZE}{owner}")
    for path in (root.CODE, gvisor.BUNDLE, gvisor.STATE, gvisor.LOG, gvisor.GUEST_ROOT):
        os.mkdir(path, 0o755)
        if uid is not None:
            os.chown(path, uid, uid)
    for tree, target in zip(trees, (root.WORKSPACE, "/tmp", "/dev/shm", root.CODE), strict=True):
        libc.hang_tree(tree, target)
        os.close(tree)
    _furnish(gvisor.GUEST_ROOT, boot)
    Path(gvisor.BUNDLE, "config.json").write_text(gvisor.bundle(host.interpreter.executable))


def _furnish(inside: str, boot: bytes) -> None:
    """What the guest sees as its read-only root: links and folders of ours, and places to mount at."""
    for entry in os.scandir("/"):
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), f"{inside}/{entry.name}")
        elif entry.name not in _TOP_OWN:
            os.mkdir(f"{inside}/{entry.name}", 0o755)
            libc.mount(entry.path, f"{inside}/{entry.name}", None, libc.MS_BIND | libc.MS_REC)
    for name in (*_TOP_OWN, "sys", "dev/shm", root.CODE[1:]):
        os.mkdir(f"{inside}/{name}", 0o755)
    Path(inside + gvisor.BOOT).write_bytes(boot)


def _give_up_rights(uid: int | None) -> None:
    """Become `uid`, seen as 0 in a user namespace of the jail's own: runsc mounts and traces in there."""
    if uid is not None:
        spawn.take_identity(uid)
    mine = os.getuid()
    libc.prctl(libc.PR_SET_DUMPABLE, 1)  # or /proc/self/uid_map would be root's
    libc.unshare(_NAMESPACES)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {mine} 1"), ("gid_map", f"0 {mine} 1")):
        Path(f"/proc/self/{name}").write_text(text)
    libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)


def _first_process(kept: dict[str, int], runsc: str) -> None:
    libc.mount("proc", "/proc", "proc", _SAFE | libc.MS_NOEXEC)
    libc.set_host_name("sandbox")
    child = spawn.fork(lambda: _run(kept, runsc))
    for name in ("stdin", "stdout", "stderr"):
        os.close(kept[name])
    if _await_start(child, kept["control"]):
        os.write(kept["status"], b"started\n")
    jailed.supervise(child, kept["control"], kept["status"], jailed.kill_namespace, lambda: None)


def _await_start(child: int, control: int) -> bool:
    """Whether the guest's interpreter stood ready; it goes on once its marker is gone."""
    marker = jailed.GUEST_MARKER  # the guest's temporary folder is ours
    ended = os.pidfd_open(child)
    poller = select.poll()
    for descriptor in (ended, control):
        poller.register(descriptor, select.POLLIN)
    try:
        while not poller.poll(_LOOK_MS):
            if os.path.exists(marker):
                os.unlink(marker)
                return True
    finally:
        os.close(ended)
    return False


def _run(kept: dict[str, int], runsc: str) -> None:
    """The runner: exec runsc, and end as its guest's program did."""
    os.setsid()
    for name in ("status", "control"):
        os.close(kept[name])

    def become() -> None:
        for target, name in enumerate(("stdin", "stdout", "stderr")):
            os.dup2(kept[name], target)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os.chdir("/")
        os.execve(runsc, gvisor.command(runsc), {})

    running = spawn.fork(become)
    for name in ("stdin", "stdout", "stderr"):
        os.close(kept[name])
    os.waitpid(running, 0)
    logs = {path.name: path.read_text(errors="replace") for path in sorted(Path(gvisor.LOG).iterdir())}
    ended = gvisor.parse_end(logs.get("run", ""))
    if ended is None:
        os.write(2, gvisor.complaints(logs).encode())
    gvisor.mirror(ended)
