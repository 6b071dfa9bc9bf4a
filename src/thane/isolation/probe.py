"""Which tiers this machine really has: a snippet is run in each, under a deadline.

That a feature seems to be there proves nothing; a tier is available when a program in
it has printed what it was told to. Says for each rung that fails what is missing and
what would bring it.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from thane.isolation import gvisor, landlock, tiers
from thane.isolation.execution import Execution
from thane.isolation.host import Host
from thane.isolation.nursery import Nursery
from thane.isolation.request import Limits, Refused, Request
from thane.isolation.templates import Templates

_DEADLINE = 15.0
_WORD = b"ready"
_PROBE_SLOT = 0
_REMEDIES = {
    tiers.T3: gvisor.REMEDY,
    tiers.T2: "Run as root, or under a delegated cgroup:"
    " systemd-run --user --scope -p Delegate=yes thane serve",
    tiers.T2_MINUS: "Allow user namespaces: sysctl kernel.unprivileged_userns_clone=1, on Ubuntu"
    " sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    tiers.T1: "Use Linux 5.13 or later with Landlock enabled (lsm=...,landlock on the kernel command line)",
}


def _request() -> Request:
    limits = Limits(
        memory_bytes=256 << 20,
        cpu_millicores=1000,
        disk_bytes=1 << 20,
        timeout_ms=int(_DEADLINE * 1000),
        processes=8,
        output_bytes=4096,
    )
    code = b'print("' + _WORD + b'")'
    return Request("probe", "python", tiers.T1, limits, {}, False, code, b"", ())


class Probe:
    """Remembers what it has found: the answer does not change while the program lives."""

    def __init__(self, host: Host, nursery: Nursery, templates: Templates) -> None:
        self._host = host
        self._nursery = nursery
        self._templates = templates
        self._missing: dict[str, str] = {}  # tier → what is missing; empty text: it works
        self._lock = asyncio.Lock()
        self._count = 0

    async def best(self) -> str | None:
        """The strongest tier that works, but for T3; weaker ones are not tried."""
        forced = self._host.force_tier
        async with self._lock:
            for tier in tiers.TRIED if forced is None else (forced,):
                if not await self._try(tier):
                    if tiers.has_namespaces(tier):
                        self._nursery.keep_in_stock(tier)
                    return tier
        return None

    async def lacks(self, tier: str) -> tuple[str, str]:
        """What this tier lacks here and which command brings it; two empty texts if it works."""
        if tier not in tiers.KNOWN:
            return "", ""
        async with self._lock:
            missing = await self._try(tier)
        return missing, self._remedy(tier) if missing else ""

    async def ladder(self, *, on_demand: bool) -> list[dict[str, Any]]:
        """Every rung, strongest first; without T3, which takes long to try, unless `on_demand`."""
        rungs = tiers.KNOWN if on_demand else tiers.TRIED
        async with self._lock:
            for tier in rungs:
                await self._try(tier)
        reports = [self._report(tier, self._missing[tier], self._remedy(tier)) for tier in rungs]
        reports.append(self._report(tiers.T0, "code is never run without isolation", "Use any other tier."))
        return reports

    def _remedy(self, tier: str) -> str:
        if tier == tiers.T3 and self._host.runsc is not None and not self._host.stage.mounted:
            return _REMEDIES[tiers.T2_MINUS]
        if tier == tiers.T2 and self._host.groups is not None:
            return _REMEDIES[tiers.T2_MINUS]  # the control groups are there: it lacks what T2- lacks
        return _REMEDIES[tier]

    def _report(self, tier: str, missing: str, remedy: str) -> dict[str, Any]:
        return {
            "tier": tier,
            "available": not missing,
            "detail": tiers.DETAILS[tier],
            "missing": missing,
            "remedy": remedy if missing else "",
        }

    async def _try(self, tier: str) -> str:
        if tier not in self._missing:
            self._missing[tier] = self._lacking(tier) or await self._run(tier)
        return self._missing[tier]

    def _lacking(self, tier: str) -> str:
        """What is missing without trying; empty if it has to be tried."""
        host = self._host
        if host.force_tier is not None and tier != host.force_tier:
            return f"not tried, as the program was told to use {host.force_tier} only"
        if tier == tiers.T3 and (host.runsc is None or not os.access(host.runsc, os.X_OK)):
            return "gVisor (runsc) is not installed"
        if tier != tiers.T1 and not host.stage.mounted:
            return "the kernel denies new namespaces to this user"
        if tier == tiers.T2 and host.groups is None:
            return host.groups_missing
        if tier == tiers.T1 and landlock.abi() == 0:
            return "the kernel has no Landlock"
        return ""

    async def _run(self, tier: str) -> str:
        printed = bytearray()

        def keep(header: dict[str, Any], body: bytes) -> None:
            if header["t"] == "output":
                printed.extend(body)

        self._count += 1
        execution = Execution(
            self._host,
            self._nursery,
            self._templates,
            _request(),
            tier,
            _PROBE_SLOT,
            f"probe-{self._count}",
            keep,
        )
        try:
            finished = await asyncio.wait_for(execution.run(), _DEADLINE + 5)
        except Refused as refused:
            return refused.message
        except TimeoutError:
            return f"a snippet did not end within {_DEADLINE:g} s"
        except OSError as error:
            return f"the jail could not be started: {error}"
        if printed.strip() != _WORD:
            shown = bytes(printed[:500]).decode("utf-8", "replace").strip()
            return f"a snippet did not run ({finished.verdict['message']}): {shown}"
        return ""
