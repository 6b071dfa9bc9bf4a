"""What a program does reach today though its tier should stop it: known defects, each with its cure.

The table says what is right. A test whose program is named here is expected to fail; when it no
longer does, the test fails until the entry is taken out.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.hostile.rows import Program
from thane.kernel.ports.isolation import Tier

_ALL = frozenset(Tier)
_OWN_FILES = (
    "Landlock does not guard this call, and on T1 an ordinary user's jail is that user: the filter must deny"
    " the calls that take a path (chmod, fchmodat, fchmodat2, chown, lchown, fchownat, utimensat, futimesat,"
    " utime, utimes, setxattr, lsetxattr, removexattr, lremovexattr), leaving those on open descriptors"
)


@dataclass(frozen=True)
class Defect:
    program: str
    tiers: frozenset[Tier]
    what: str
    as_root: bool = True
    as_user: bool = True
    without_mounts: bool = (
        False  # only where new namespaces are refused, so that workspaces are plain folders
    )


DEFECTS = (
    Defect(
        "memory-in-sockets",
        frozenset({Tier.T2_MINUS, Tier.T1}),
        "the buffers of Unix sockets belong to no process, so the watchdog does not count them; 1 024"
        " descriptors per process hold some 800 MB, and each process of the jail has as many."
        " The filter must bound them"
        " (deny SO_SNDBUF and SO_RCVBUF, a lower limit on descriptors) or the watchdog must count sockets",
    ),
    Defect(
        "watch-a-host-folder",
        frozenset({Tier.T1}),
        "Landlock does not guard inotify, so the names of files that come and go in any folder that the"
        " jail's user may read can be learnt: the filter must deny inotify_add_watch on T1",
    ),
    Defect(
        "deep-folders",
        frozenset({Tier.T1}),
        "`shutil.rmtree` fails with RecursionError below 1 000 folders: the verdict is lost, the folder"
        " stays, and every later start of an isolation program fails in `_sweep_stale`, which does not"
        " expect that error, until somebody removes the folder by hand",
        without_mounts=True,
    ),
    Defect(
        "unreadable-file",
        frozenset({Tier.T1}),
        "one file without rights makes the whole collection fail: it must be refused alone",
        as_root=False,
        without_mounts=True,
    ),
    Defect(
        "disk-of-removed-files",
        frozenset({Tier.T1}),
        "what removed but open files hold is not counted: the watchdog must add them (/proc/PID/fd) or the"
        " documentation must say so",
        without_mounts=True,
    ),
    Defect(
        "inodes",
        frozenset({Tier.T1}),
        "the watchdog looks ever more seldom the more entries there are and not at the end, so a program that"
        " ends in time is `completed` with more entries than it may have",
        without_mounts=True,
    ),
    *(
        Defect(name, frozenset({Tier.T1}), _OWN_FILES, as_root=False)
        for name in ("change-the-mode", "change-the-owner", "change-the-times", "change-the-attributes")
    ),
    Defect(
        "name-that-reads-backwards",
        _ALL,
        "names with characters that turn the direction of text come out: `check_name` must refuse Unicode's"
        " format characters (category Cf)",
    ),
)


def known(program: Program, tier: Tier, *, as_root: bool, mounts: bool) -> str:
    """What is known to be wrong with this program on this tier; empty if nothing is."""
    for defect in DEFECTS:
        concerns = defect.as_root if as_root else defect.as_user
        if defect.without_mounts and mounts:
            continue
        if concerns and defect.program == program.name and tier in defect.tiers:
            return defect.what
    return ""
