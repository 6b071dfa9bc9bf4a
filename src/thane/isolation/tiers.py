"""The ladder's rungs: their names, their order, and what enforces each limit on them.

Only names and tables; `probe` finds out which of them this machine has.
"""

from __future__ import annotations

from thane.isolation import landlock
from thane.isolation.host import Host
from thane.isolation.seccomp import Rules

T0, T1, T2_MINUS, T2, T3 = "T0", "T1", "T2-", "T2", "T3"
WEAKEST_FIRST = (T0, T1, T2_MINUS, T2, T3)
TRIED = (T2, T2_MINUS, T1)  # strongest first

DETAILS = {
    T0: "a plain process; never used",
    T1: "Landlock, seccomp and resource limits in the host's namespaces; no sockets",
    T2_MINUS: "namespaces and seccomp; limits by a memory watchdog and CPU affinity",
    T2: "namespaces and seccomp; limits by control groups",
    T3: "a virtual machine or gVisor",
}


def rank(tier: str) -> int:
    return WEAKEST_FIRST.index(tier)


def has_namespaces(tier: str) -> bool:
    return tier in (T2, T2_MINUS)


def enforcement(tier: str, host: Host) -> dict[str, str]:
    """What enforces each limit: said in every verdict."""
    group = host.groups.kind if tier == T2 and host.groups else None
    return {
        "memory": group or "watchdog",
        "cpu": group or "affinity",
        "disk": "tmpfs" if host.stage.mounted else "watchdog",
        "timeout": "clock",
        "processes": group or "rlimit",
        "output": "watchdog",
        "network": "namespace" if has_namespaces(tier) else "seccomp",
    }


def rules(tier: str) -> Rules:
    return Rules(
        cgroup=tier == T2,
        namespaces=has_namespaces(tier),
        signal_scope=has_namespaces(tier) or landlock.abi() >= landlock.SIGNAL_SCOPE_ABI,
        # A jail that waits for its job has its filter already, and not yet its processors.
        binding=tier == T2_MINUS,
    )
