"""The ladder's rungs: their names, their order, and what enforces each limit on them.

Only names and tables; `probe` finds out which of them this machine has.
"""

from __future__ import annotations

from thane.isolation import landlock
from thane.isolation.host import Host
from thane.isolation.seccomp import Rules

T0, T1, T2_MINUS, T2, T3 = "T0", "T1", "T2-", "T2", "T3"
WEAKEST_FIRST = (T0, T1, T2_MINUS, T2, T3)
TRIED = (T2, T2_MINUS, T1)  # strongest first; the first that works is what jobs get
ON_DEMAND = T3  # only for jobs that demand it: a guest takes a hundred times as long to start
KNOWN = (T3, *TRIED)

DETAILS = {
    T0: "a plain process; never used",
    T1: "Landlock, seccomp and resource limits in the host's namespaces; no sockets",
    T2_MINUS: "namespaces and seccomp; limits by a memory watchdog and CPU affinity",
    T2: "namespaces and seccomp; limits by control groups",
    T3: "gVisor: a kernel of its own, inside namespaces; for sandboxes that demand it",
}


def rank(tier: str) -> int:
    return WEAKEST_FIRST.index(tier)


def has_namespaces(tier: str) -> bool:
    """Whether the zygote makes its jails."""
    return tier in (T2, T2_MINUS)


def enforcement(tier: str, host: Host) -> dict[str, str]:
    """What enforces each limit: said in every verdict."""
    group = host.groups.kind if tier in (T2, T3) and host.groups else None
    return {
        "memory": group or "watchdog",
        "cpu": group or "affinity",
        "disk": "tmpfs" if host.stage.mounted else "watchdog",
        "timeout": "clock",
        "processes": "watchdog" if tier == T3 else group or "rlimit",
        "output": "watchdog",
        "network": "seccomp" if tier == T1 else "namespace",
    }


def rules(tier: str) -> Rules:
    return Rules(
        cgroup=tier == T2,
        namespaces=has_namespaces(tier),
        signal_scope=has_namespaces(tier) or landlock.abi() >= landlock.SIGNAL_SCOPE_ABI,
    )
